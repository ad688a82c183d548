# Measurements of single layers; built with the tests so that they stay true,
# run by hand; their heads say how.
foreach(b journal http)
    add_executable(${b}_bench tests/bench/${b}_bench.c)
    target_link_libraries(${b}_bench mf_${b})
endforeach()
add_executable(post_load tests/bench/post_load.c)
target_link_libraries(post_load mf_base)
foreach(b dedupe event plan)
    add_executable(${b}_bench tests/bench/${b}_bench.c)
    target_link_libraries(${b}_bench mf_ingest)
endforeach()
add_executable(books_bench tests/bench/books_bench.c)
target_link_libraries(books_bench mf_books mf_state)

# Both servers, once each, so that the comparison goes on to work.
find_program(PYTHON3 python3)
if(PYTHON3)
    add_test(NAME bench.nginx
        COMMAND ${PYTHON3} -B ${CMAKE_SOURCE_DIR}/tests/bench/nginx.py
            --manifold $<TARGET_FILE:manifold> --load $<TARGET_FILE:post_load>
            --seconds 0.2 --rounds 1)
    set_tests_properties(bench.nginx PROPERTIES
        LABELS bench TIMEOUT 120 SKIP_RETURN_CODE 77)
endif()
