# The warehouse itself is the postgres plugin's; what differs is here.
set(postgres ${dir}/../postgres)
file(GLOB warehouse CONFIGURE_DEPENDS ${postgres}/*.c)
list(FILTER warehouse EXCLUDE REGEX "/postgres\\.c$|_test\\.c$")
target_sources(plugin-${slug} PRIVATE ${warehouse})
include(${postgres}/libpq.cmake)

# Rows without a database, and beside recorded ones.
if(MANIFOLD_TESTS AND LIBPQ_FOUND AND TARGET mf_plugin)
    add_executable(plugin_warehouse_rows ${postgres}/rows_test.c
        ${dir}/redshift.c ${warehouse})
    target_include_directories(plugin_warehouse_rows PRIVATE ${postgres})
    target_link_libraries(plugin_warehouse_rows
        mf_plugin PkgConfig::CMOCKA PkgConfig::LIBPQ)
    target_compile_definitions(plugin_warehouse_rows PRIVATE
        PLUGIN="$<TARGET_FILE:plugin-${slug}>")
    add_dependencies(plugin_warehouse_rows plugin-${slug})
    add_test(NAME unit.plugins.warehouse COMMAND plugin_warehouse_rows)
    set_tests_properties(unit.plugins.warehouse PROPERTIES
        LABELS unit TIMEOUT 100)
    add_test(NAME harness.rows
        COMMAND python3 -B ${CMAKE_SOURCE_DIR}/tests/harness/rows
            $<TARGET_FILE:plugin_warehouse_rows>)
    set_tests_properties(harness.rows PROPERTIES
        LABELS harness TIMEOUT 100 SKIP_RETURN_CODE 77)
endif()
