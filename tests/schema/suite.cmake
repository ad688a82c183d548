# The validator of tracking plans against files of cases: our own, and the
# official suite, which comes from a package registry; and against another
# validator. Both are skipped where they cannot be had.
add_executable(draft7_cases tests/schema/draft7_cases.c)
target_link_libraries(draft7_cases mf_schema)
file(GLOB schema_cases CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/tests/schema/cases/*.json)
add_test(NAME schema.cases COMMAND draft7_cases ${schema_cases})
set_tests_properties(schema.cases PROPERTIES LABELS schema TIMEOUT 60)

find_program(PYTHON3 python3)
if(PYTHON3)
    add_test(NAME schema.official
        COMMAND ${PYTHON3} -B ${CMAKE_SOURCE_DIR}/tests/schema/suite.py
            --cases $<TARGET_FILE:draft7_cases>
            --cache ${CMAKE_BINARY_DIR}/schema-suite)
    set_tests_properties(schema.official PROPERTIES
        LABELS schema TIMEOUT 180 SKIP_RETURN_CODE 77)
    add_test(NAME schema.differential
        COMMAND ${PYTHON3} -B ${CMAKE_SOURCE_DIR}/tests/schema/differential.py
            --cases $<TARGET_FILE:draft7_cases> --groups 300)
    set_tests_properties(schema.differential PROPERTIES
        LABELS schema TIMEOUT 120 SKIP_RETURN_CODE 77)
endif()
