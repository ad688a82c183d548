# What the pages say is true: the scaffold builds, the samples compile.
set(docs_dir ${CMAKE_SOURCE_DIR}/tests/docs)
string(REPLACE "address" "address,undefined" docs_sanitize
    "${MANIFOLD_SANITIZE}")
add_test(NAME docs.new-plugin
    COMMAND ${docs_dir}/new-plugin ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}
        ${docs_sanitize})
set_tests_properties(docs.new-plugin PROPERTIES LABELS docs TIMEOUT 120)
