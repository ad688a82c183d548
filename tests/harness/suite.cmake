# Every plugin's cases through the shared harness, and the recorded vectors.
set(slugs "")
foreach(m ${manifests})
    get_filename_component(d ${m} DIRECTORY)
    get_filename_component(s ${d} NAME)
    list(APPEND slugs plugin-${s})
endforeach()

add_test(NAME harness.cases
    COMMAND manifold test --plugins ${CMAKE_BINARY_DIR}/plugins
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(harness.cases PROPERTIES LABELS harness TIMEOUT 120)

add_test(NAME harness.vectors
    COMMAND ${CMAKE_SOURCE_DIR}/tests/harness/vectors
        $<TARGET_FILE:manifold> ${CMAKE_BINARY_DIR}/plugins)
set_tests_properties(harness.vectors PROPERTIES
    LABELS harness TIMEOUT 300 SKIP_RETURN_CODE 77)
