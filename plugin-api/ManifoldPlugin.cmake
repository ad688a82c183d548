# manifold_plugin(DIR): builds DIR/manifest.json and DIR/*.c, where there are
# any, into plugins/<slug>.so. The same function serves plugins inside this
# repository and, through find_package(Manifold), those outside it.
#
# The manifest and the ABI stamp become ELF sections that the host reads
# without loading the file. DIR/plugin.cmake, if it is there, is included last:
# a native plugin names its libraries there (target plugin-<slug>). Where one
# of them is missing it may leave the plugin out: EXCLUDE_FROM_ALL.
#
# The options are those that the host's check of the file asks for: nothing
# exported by chance, all symbols resolved at load, nothing writable left, no
# constructors from start files.

# A plugin without cases is not built, and one folder cannot hold another's.
function(_manifold_plugin_check dir slug)
    file(GLOB cases CONFIGURE_DEPENDS ${dir}/cases/*.json)
    if(NOT cases)
        message(FATAL_ERROR
            "${dir} has no cases/*.json: a plugin without cases is not built")
    endif()
    file(READ ${dir}/manifest.json text)
    string(JSON said ERROR_VARIABLE fault GET "${text}" slug)
    if(NOT fault AND NOT said STREQUAL slug)
        message(FATAL_ERROR
            "${dir}/manifest.json says its slug is ${said}; the folder must have that name")
    endif()
endfunction()

function(manifold_plugin dir)
    set(api ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
    set(include ${api}/include)
    if(NOT EXISTS ${include}/manifold/destination.h)
        get_filename_component(include ${api}/../../../include ABSOLUTE)
    endif()
    get_filename_component(dir ${dir} ABSOLUTE)
    get_filename_component(slug ${dir} NAME)
    _manifold_plugin_check(${dir} ${slug})

    set(MANIFEST_PATH ${dir}/manifest.json)
    set(gen ${CMAKE_CURRENT_BINARY_DIR}/plugin-${slug})
    configure_file(${api}/embed.c.in ${gen}/embed.c @ONLY)
    set_source_files_properties(${gen}/embed.c PROPERTIES
        OBJECT_DEPENDS ${MANIFEST_PATH})
    file(GLOB src CONFIGURE_DEPENDS ${dir}/*.c)
    list(FILTER src EXCLUDE REGEX "_test\\.c$")
    if(NOT src)
        configure_file(${api}/declared.c.in ${gen}/declared.c @ONLY)
        set(src ${gen}/declared.c)
    endif()

    set(target plugin-${slug})
    add_library(${target} MODULE ${src} ${gen}/embed.c)
    set_target_properties(${target} PROPERTIES
        PREFIX "" OUTPUT_NAME ${slug} SUFFIX .so
        C_STANDARD 11 C_STANDARD_REQUIRED ON C_VISIBILITY_PRESET hidden
        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
    target_include_directories(${target} PRIVATE ${include})
    target_compile_options(${target} PRIVATE -fPIC -fno-plt)
    target_link_options(${target} PRIVATE
        -Wl,-z,now,-z,relro,-z,noexecstack,--build-id,--exclude-libs,ALL)
    if(NOT MANIFOLD_SANITIZE)
        target_link_options(${target} PRIVATE -nostartfiles -Wl,-z,defs)
    else()
        # The sanitizer's runtime is the host's; it brings its constructors.
        target_link_options(${target} PRIVATE -Wl,-z,undefs)
    endif()
    if(EXISTS ${dir}/plugin.cmake)
        include(${dir}/plugin.cmake)
    endif()
    get_target_property(left_out ${target} EXCLUDE_FROM_ALL)
    if(MANIFOLD_PLUGIN_EXTERNAL)
        _manifold_plugin_external(${target})
    elseif(NOT left_out)
        install(TARGETS ${target} LIBRARY DESTINATION lib/manifold/plugins)
    endif()
endfunction()
