# The whole program, from a request at the ingest API to a receiver. One file,
# one test; those that measure rates run alone.
set(integration_alone isolation crash reload drain control)

find_program(PYTHON3 python3)
file(GLOB integration_tests CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/tests/integration/*.py)
foreach(t ${integration_tests})
    get_filename_component(n ${t} NAME_WE)
    if(n MATCHES "^(harness|pgserver)$" OR NOT PYTHON3)
        continue()
    endif()
    add_test(NAME integration.${n}
        COMMAND ${PYTHON3} -B ${t} --manifold $<TARGET_FILE:manifold>
            --plugins ${CMAKE_BINARY_DIR}/plugins)
    set_tests_properties(integration.${n} PROPERTIES
        LABELS integration TIMEOUT 180 SKIP_RETURN_CODE 77)
    if(n IN_LIST integration_alone)
        set_tests_properties(integration.${n} PROPERTIES RUN_SERIAL ON)
    endif()
endforeach()

# Plugins that only tests use, kept apart from those that are installed.
function(_manifold_plugin_external target)
    set_target_properties(${target} PROPERTIES
        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test-plugins)
endfunction()
set(MANIFOLD_PLUGIN_EXTERNAL ON)
manifold_plugin(${CMAKE_CURRENT_SOURCE_DIR}/tests/integration/plugins/oauth-demo)
manifold_plugin(${CMAKE_CURRENT_SOURCE_DIR}/tests/integration/plugins/trouble)
set(MANIFOLD_PLUGIN_EXTERNAL OFF)
add_test(NAME integration.oauth-cases
    COMMAND manifold test --plugins ${CMAKE_BINARY_DIR}/test-plugins
        ${CMAKE_CURRENT_SOURCE_DIR}/tests/integration/plugins/oauth-demo)
set_tests_properties(integration.oauth-cases PROPERTIES
    LABELS integration TIMEOUT 60)
