# Measurements of single layers; built with the tests so that they stay true,
# run by hand; their heads say how.
foreach(b journal http)
    add_executable(${b}_bench tests/bench/${b}_bench.c)
    target_link_libraries(${b}_bench mf_${b})
endforeach()
add_executable(dedupe_bench tests/bench/dedupe_bench.c)
target_link_libraries(dedupe_bench mf_ingest)
add_executable(books_bench tests/bench/books_bench.c)
target_link_libraries(books_bench mf_books mf_state)
add_executable(plan_bench tests/bench/plan_bench.c)
target_link_libraries(plan_bench mf_ingest)
