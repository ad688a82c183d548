# Every plugin's cases through the shared harness, and the recorded vectors.
set(slugs "")
foreach(m ${manifests})
    get_filename_component(d ${m} DIRECTORY)
    get_filename_component(s ${d} NAME)
    list(APPEND slugs plugin-${s})
endforeach()

add_test(NAME harness.cases
    COMMAND manifold test --plugins ${CMAKE_BINARY_DIR}/plugins
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(harness.cases PROPERTIES LABELS harness TIMEOUT 120)

add_test(NAME harness.vectors
    COMMAND ${CMAKE_SOURCE_DIR}/tests/harness/vectors
        $<TARGET_FILE:manifold> ${CMAKE_BINARY_DIR}/plugins)
set_tests_properties(harness.vectors PROPERTIES
    LABELS harness TIMEOUT 300 SKIP_RETURN_CODE 77)

# The harness on a plugin that breaks every rule; not one of those built into
# plugins/.
set(bad ${CMAKE_CURRENT_SOURCE_DIR}/tests/harness/misbehave)
set(MANIFEST_PATH ${bad}/manifest.json)
configure_file(${CMAKE_CURRENT_SOURCE_DIR}/plugin-api/embed.c.in
    ${CMAKE_BINARY_DIR}/misbehave/embed.c @ONLY)
add_library(misbehave MODULE ${bad}/misbehave.c
    ${CMAKE_BINARY_DIR}/misbehave/embed.c)
set_target_properties(misbehave PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/misbehave)
target_include_directories(misbehave PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR}/plugin-api/include)
target_link_options(misbehave PRIVATE -Wl,-z,now,-z,relro,-z,noexecstack)
if(MANIFOLD_SANITIZE)
    target_link_options(misbehave PRIVATE -Wl,-z,undefs)
else()
    target_link_options(misbehave PRIVATE -nostartfiles)
endif()
add_test(NAME harness.faults
    COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tests/harness/faults
        $<TARGET_FILE:manifold> ${CMAKE_BINARY_DIR}/misbehave ${bad})
set_tests_properties(harness.faults PROPERTIES LABELS harness TIMEOUT 60)
