# manifold-faults.so, which campaigns preload into a host of their own; no part
# of the program. It must come before a sanitizer's runtime and so has none.
add_library(manifold-faults MODULE host/faults/preload.c)
set_target_properties(manifold-faults PROPERTIES PREFIX ""
    C_VISIBILITY_PRESET default)
target_include_directories(manifold-faults PRIVATE host)
# Both names of a call are defined here, so they must not be made one.
target_compile_options(manifold-faults PRIVATE -U_FILE_OFFSET_BITS
    -U_FORTIFY_SOURCE -fno-sanitize=all -Wno-missing-prototypes)
target_link_options(manifold-faults PRIVATE -fno-sanitize=all)
target_link_libraries(manifold-faults ${CMAKE_DL_LIBS})
install(TARGETS manifold-faults
    LIBRARY DESTINATION lib/manifold)
