# What the pages say is true: the scaffold builds, the samples compile.
find_program(PYTHON3 python3)
set(docs_dir ${CMAKE_SOURCE_DIR}/tests/docs)
string(REPLACE "address" "address,undefined" docs_sanitize
    "${MANIFOLD_SANITIZE}")
add_test(NAME docs.new-plugin
    COMMAND ${docs_dir}/new-plugin ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}
        ${docs_sanitize})
set_tests_properties(docs.new-plugin PROPERTIES LABELS docs TIMEOUT 120)

if(PYTHON3)
    add_test(NAME docs.samples
        COMMAND ${PYTHON3} -B ${docs_dir}/samples ${CMAKE_C_COMPILER}
            ${CMAKE_SOURCE_DIR}/plugin-api/include
            ${CMAKE_SOURCE_DIR}/plugin-api/README.md)
    set_tests_properties(docs.samples PROPERTIES LABELS docs TIMEOUT 60)
endif()
