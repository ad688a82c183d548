# From an event to its rows: that is the same for all warehouses.
foreach(part names rows tables values)
    target_sources(plugin-${slug} PRIVATE ${dir}/../postgres/${part}.c)
endforeach()

# Rows beside recorded ones.
if(MANIFOLD_TESTS AND TARGET manifold)
    add_test(NAME harness.rows-bigquery
        COMMAND python3 -B ${CMAKE_SOURCE_DIR}/tests/harness/rows
            $<TARGET_FILE:manifold> $<TARGET_FILE:plugin-${slug}>)
    set_tests_properties(harness.rows-bigquery PROPERTIES
        LABELS harness TIMEOUT 100 SKIP_RETURN_CODE 77)
endif()
