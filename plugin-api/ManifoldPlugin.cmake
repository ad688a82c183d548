# manifold_plugin(DIR): builds DIR/manifest.json and DIR/<slug>.c, where there
# is one, into plugins/<slug>.so. The same function serves plugins inside this
# repository and, through the installed CMake package, those outside it.
#
# The manifest and the ABI stamp become ELF notes-like sections that the host
# reads without loading the file.
set(MANIFOLD_PLUGIN_API ${CMAKE_CURRENT_LIST_DIR})

function(manifold_plugin dir)
    get_filename_component(dir ${dir} ABSOLUTE)
    get_filename_component(slug ${dir} NAME)
    set(manifest ${dir}/manifest.json)
    file(GLOB src CONFIGURE_DEPENDS ${dir}/*.c)
    list(FILTER src EXCLUDE REGEX "_test\\.c$")
    file(GLOB cases CONFIGURE_DEPENDS ${dir}/cases/*.json)
    if(NOT cases)
        message(FATAL_ERROR
            "plugins/${slug} has no cases/*.json: a plugin without cases is not built")
    endif()
    set(gen ${CMAKE_CURRENT_BINARY_DIR}/plugin-${slug})
    set(MANIFEST_PATH ${manifest})
    configure_file(${MANIFOLD_PLUGIN_API}/embed.c.in ${gen}/embed.c @ONLY)
    if(NOT src)
        configure_file(${MANIFOLD_PLUGIN_API}/declared.c.in ${gen}/declared.c @ONLY)
        set(src ${gen}/declared.c)
    endif()
    add_library(plugin-${slug} MODULE ${src} ${gen}/embed.c)
    set_source_files_properties(${gen}/embed.c PROPERTIES OBJECT_DEPENDS ${manifest})
    set_target_properties(plugin-${slug} PROPERTIES
        PREFIX "" OUTPUT_NAME ${slug} SUFFIX .so C_VISIBILITY_PRESET hidden
        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
    target_include_directories(plugin-${slug} PRIVATE
        ${MANIFOLD_PLUGIN_API}/include)
    target_compile_options(plugin-${slug} PRIVATE -fPIC -fno-plt)
    target_link_options(plugin-${slug} PRIVATE
        -Wl,-z,now,-z,relro,-z,defs,-z,noexecstack,--build-id)
    if(NOT MANIFOLD_SANITIZE)
        target_link_options(plugin-${slug} PRIVATE -nostartfiles)
    else()
        # The runtime of the sanitizer is the host's.
        target_link_options(plugin-${slug} PRIVATE -Wl,-z,undefs)
    endif()
    if(EXISTS ${dir}/plugin.cmake)
        include(${dir}/plugin.cmake)
    endif()
    if(NOT MANIFOLD_PLUGIN_EXTERNAL)
        install(TARGETS plugin-${slug}
            LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/../lib/manifold/plugins)
    endif()
endfunction()
