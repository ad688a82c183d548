# What the pages say is true: the scaffold builds, samples compile, limits are
# those of the sources, the man page has every command, and each command tells
# its usage.
set(docs_dir ${CMAKE_SOURCE_DIR}/tests/docs)
set(docs_pages ${CMAKE_SOURCE_DIR}/plugin-api/README.md
    ${CMAKE_SOURCE_DIR}/host/OPERATING.md ${CMAKE_SOURCE_DIR}/host/SDKS.md)
string(REPLACE "address" "address,undefined" docs_sanitize
    "${MANIFOLD_SANITIZE}")
find_program(PYTHON3 python3)

add_test(NAME docs.new-plugin
    COMMAND ${docs_dir}/new-plugin ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}
        ${docs_sanitize})
add_test(NAME docs.manual
    COMMAND ${docs_dir}/manual ${CMAKE_SOURCE_DIR}/host/manifold.1
        $<TARGET_FILE:manifold>)
add_test(NAME docs.commands
    COMMAND ${docs_dir}/commands $<TARGET_FILE:manifold>)
set(docs_tests docs.new-plugin docs.manual docs.commands)
if(PYTHON3)
    add_test(NAME docs.samples
        COMMAND ${PYTHON3} -B ${docs_dir}/samples ${CMAKE_C_COMPILER}
            ${CMAKE_SOURCE_DIR}/plugin-api/include ${docs_pages})
    add_test(NAME docs.limits
        COMMAND ${PYTHON3} -B ${docs_dir}/limits ${CMAKE_SOURCE_DIR}
            ${CMAKE_SOURCE_DIR}/host/OPERATING.md)
    list(APPEND docs_tests docs.samples docs.limits)
endif()
set_tests_properties(${docs_tests} PROPERTIES
    LABELS docs TIMEOUT 120 SKIP_RETURN_CODE 77)
