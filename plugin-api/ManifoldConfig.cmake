# find_package(Manifold) for plugins that live outside Manifold's repository:
#
#   cmake_minimum_required(VERSION 3.25)
#   project(acme C)
#   find_package(Manifold REQUIRED)
#   manifold_plugin(acme)             # the folder acme/, see MANIFEST.md
#
# The result is plugins/acme.so in the build directory. `manifold plugins
# plugins/acme.so` checks it, `manifold test acme` plays its cases, `cmake
# --install` lays it where the host looks.
#
# A host that was built with sanitizers takes only plugins built the same way:
# -DMANIFOLD_SANITIZE=address,undefined
#
# MANIFOLD_PLUGINS_DIR   where plugins are installed; lib/manifold/plugins
set(MANIFOLD_PLUGIN_EXTERNAL ON)
set(MANIFOLD_PLUGINS_DIR lib/manifold/plugins CACHE STRING
    "Where the host looks for plugins, below the prefix")

function(_manifold_plugin_external target)
    target_compile_options(${target} PRIVATE -Wall -Wextra -fno-strict-aliasing)
    if(MANIFOLD_SANITIZE)
        target_compile_options(${target} PRIVATE -fsanitize=${MANIFOLD_SANITIZE}
            -fno-sanitize-recover=all -fno-omit-frame-pointer -g)
        target_link_options(${target} PRIVATE -fsanitize=${MANIFOLD_SANITIZE})
    endif()
    install(TARGETS ${target} LIBRARY DESTINATION ${MANIFOLD_PLUGINS_DIR})
endfunction()

include(${CMAKE_CURRENT_LIST_DIR}/ManifoldPlugin.cmake)
