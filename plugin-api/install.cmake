# What authors of plugins outside the repository need: headers, and a CMake
# package that find_package(Manifold) finds below any prefix. The package is
# not below CMAKE_INSTALL_LIBDIR: it holds nothing of one architecture.
include(CMakePackageConfigHelpers)

set(package lib/cmake/Manifold)
write_basic_package_version_file(
    ${CMAKE_CURRENT_BINARY_DIR}/ManifoldConfigVersion.cmake
    COMPATIBILITY SameMajorVersion ARCH_INDEPENDENT)
install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/include/manifold
    DESTINATION include COMPONENT plugin-api FILES_MATCHING PATTERN "*.h")
install(FILES
    ${CMAKE_CURRENT_BINARY_DIR}/ManifoldConfigVersion.cmake
    ${CMAKE_CURRENT_LIST_DIR}/ManifoldConfig.cmake
    ${CMAKE_CURRENT_LIST_DIR}/ManifoldPlugin.cmake
    ${CMAKE_CURRENT_LIST_DIR}/embed.c.in
    ${CMAKE_CURRENT_LIST_DIR}/declared.c.in
    ${CMAKE_CURRENT_LIST_DIR}/MANIFEST.md
    DESTINATION ${package} COMPONENT plugin-api)
