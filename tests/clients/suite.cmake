# Real SDKs against the real server, only their host changed. An SDK comes
# from its package registry into the build directory; where that cannot be
# reached, or the language is not there, its test is counted as skipped.
find_program(PYTHON3 python3)
if(PYTHON3)
    add_test(NAME clients.segment-node
        COMMAND ${PYTHON3} -B ${CMAKE_SOURCE_DIR}/tests/clients/segment_node.py
            --manifold $<TARGET_FILE:manifold>
            --plugins ${CMAKE_BINARY_DIR}/plugins
            --cache ${CMAKE_BINARY_DIR}/clients/segment-node)
    set_tests_properties(clients.segment-node PROPERTIES
        LABELS clients TIMEOUT 240 SKIP_RETURN_CODE 77)
endif()
