# Real SDKs against the real server, only their host changed; what SDKs were
# recorded to send; and every case a client can bring about. An SDK comes from
# its package registry into the build directory; where that cannot be reached,
# or the language is not there, its test is counted as skipped.
find_program(PYTHON3 python3)

function(client_test name file)
    if(PYTHON3 AND EXISTS ${CMAKE_SOURCE_DIR}/tests/clients/${file})
        add_test(NAME clients.${name}
            COMMAND ${PYTHON3} -B ${CMAKE_SOURCE_DIR}/tests/clients/${file}
                --manifold $<TARGET_FILE:manifold>
                --plugins ${CMAKE_BINARY_DIR}/plugins ${ARGN})
        set_tests_properties(clients.${name} PROPERTIES
            LABELS clients TIMEOUT 300 SKIP_RETURN_CODE 77)
    endif()
endfunction()

foreach(sdk segment legacy rudder)
    client_test(node-${sdk} node_sdk.py --sdk ${sdk}
        --cache ${CMAKE_BINARY_DIR}/clients/node)
endforeach()
foreach(version 2.3.4 2.4.0)
    client_test(python-${version} python_sdk.py --version ${version}
        --cache ${CMAKE_BINARY_DIR}/clients/python-${version})
endforeach()
client_test(go go_sdk.py --cache ${CMAKE_BINARY_DIR}/clients/go)
foreach(sdk segment rudder)
    client_test(browser-${sdk} browser_sdk.py --sdk ${sdk}
        --cache ${CMAKE_BINARY_DIR}/clients/node)
endforeach()
client_test(wire wire_test.py)
client_test(cases cases_test.py)
