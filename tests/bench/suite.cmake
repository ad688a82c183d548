# Measurements of single layers; built with the tests so that they stay true,
# run by hand; their heads say how.
foreach(b journal http)
    add_executable(${b}_bench tests/bench/${b}_bench.c)
    target_link_libraries(${b}_bench mf_${b})
endforeach()
add_executable(post_load tests/bench/post_load.c)
target_link_libraries(post_load mf_base)
foreach(b dedupe event)
    add_executable(${b}_bench tests/bench/${b}_bench.c)
    target_link_libraries(${b}_bench mf_ingest)
endforeach()
add_executable(books_bench tests/bench/books_bench.c)
target_link_libraries(books_bench mf_books mf_state)
