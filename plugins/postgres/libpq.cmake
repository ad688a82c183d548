# libpq is needed by this plugin and nothing else: where it is missing, the
# plugin is left out and all others are built.
pkg_check_modules(LIBPQ IMPORTED_TARGET libpq)
if(LIBPQ_FOUND)
    target_link_libraries(plugin-${slug} PRIVATE PkgConfig::LIBPQ
        Threads::Threads)
else()
    message(STATUS "plugin ${slug} is left out: libpq (libpq-dev) is missing")
    set_target_properties(plugin-${slug} PROPERTIES EXCLUDE_FROM_ALL ON)
endif()
