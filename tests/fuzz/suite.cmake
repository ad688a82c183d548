# Every fuzz_*.c is a target: with clang and the address sanitizer on
# libFuzzer, the layers instrumented; else on driver.c, which plays the seeds
# and some mutations of them. Either way a smoke `fuzz.NAME` runs in ctest;
# tests/fuzz/campaign is the long run.
set(fuzz_dir ${CMAKE_SOURCE_DIR}/tests/fuzz)
set(fuzz_layers base json mapping schema config plan plugin http ingest)
set(fuzz_engine OFF)
if(CMAKE_C_COMPILER_ID MATCHES "Clang" AND MANIFOLD_SANITIZE MATCHES "address")
    set(fuzz_engine ON)
    foreach(l ${fuzz_layers})
        target_compile_options(mf_${l} PRIVATE -fsanitize=fuzzer-no-link)
    endforeach()
endif()

# A seed that is no text: the smallest plugin, as a compiler makes it.
set(fuzz_made ${CMAKE_BINARY_DIR}/fuzz-seeds)
set(MANIFEST_PATH ${fuzz_dir}/seeds/manifest/small.json)
configure_file(${CMAKE_SOURCE_DIR}/plugin-api/embed.c.in
    ${fuzz_made}/embed.c @ONLY)
configure_file(${CMAKE_SOURCE_DIR}/plugin-api/declared.c.in
    ${fuzz_made}/declared.c @ONLY)
add_library(fuzz-seed-image MODULE ${fuzz_made}/embed.c ${fuzz_made}/declared.c)
set_target_properties(fuzz-seed-image PROPERTIES PREFIX "" OUTPUT_NAME plugin
    C_VISIBILITY_PRESET hidden LIBRARY_OUTPUT_DIRECTORY ${fuzz_made}/image)
target_include_directories(fuzz-seed-image PRIVATE
    ${CMAKE_SOURCE_DIR}/plugin-api/include)
target_compile_options(fuzz-seed-image PRIVATE -fno-sanitize=all)
target_link_options(fuzz-seed-image PRIVATE -fno-sanitize=all -nostartfiles
    -s -Wl,-z,now,-z,relro,-z,noexecstack,-z,noseparate-code)

file(GLOB fuzz_targets CONFIGURE_DEPENDS ${fuzz_dir}/fuzz_*.c)
foreach(t ${fuzz_targets})
    get_filename_component(n ${t} NAME_WE)
    string(REPLACE "fuzz_" "" short ${n})
    set(seeds ${fuzz_dir}/seeds/${short})
    if(NOT EXISTS ${seeds})
        set(seeds ${fuzz_made}/${short})
    endif()
    add_executable(${n} ${t})
    add_dependencies(${n} fuzz-seed-image)
    target_link_libraries(${n} mf_plugin mf_ingest mf_schema PkgConfig::JSONC)
    if(fuzz_engine)
        set(own ${CMAKE_BINARY_DIR}/corpus/${short})
        file(MAKE_DIRECTORY ${own})
        target_compile_options(${n} PRIVATE -fsanitize=fuzzer)
        target_link_options(${n} PRIVATE -fsanitize=fuzzer)
        add_test(NAME fuzz.${short} COMMAND ${n} -runs=2000 -seed=1
            -verbosity=0 ${own} ${seeds})
    else()
        target_sources(${n} PRIVATE ${fuzz_dir}/driver.c)
        add_test(NAME fuzz.${short}
            COMMAND ${n} ${seeds})
    endif()
    set_tests_properties(fuzz.${short} PROPERTIES LABELS fuzz TIMEOUT 120)
    list(APPEND fuzz_programs ${n})
endforeach()
add_custom_target(fuzz DEPENDS ${fuzz_programs})
