# What cases cannot show: rotation, torn lines, a full disk. Runs the built
# plugin under the host's own loader.
if(MANIFOLD_TESTS AND TARGET mf_plugin)
    add_executable(plugin_file_test ${dir}/file_test.c)
    target_link_libraries(plugin_file_test mf_plugin PkgConfig::CMOCKA)
    target_compile_definitions(plugin_file_test PRIVATE
        PLUGIN="$<TARGET_FILE:plugin-${slug}>")
    add_dependencies(plugin_file_test plugin-${slug})
    add_test(NAME unit.plugins.file COMMAND plugin_file_test)
    set_tests_properties(unit.plugins.file PROPERTIES LABELS unit TIMEOUT 300)
endif()
