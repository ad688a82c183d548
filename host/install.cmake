# The man page, the systemd units and the configuration to begin with. The
# service names the program where it really is, also with cmake --install
# --prefix.
include(GNUInstallDirs)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/manifold.1
    DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/manifold.example.json
    ${CMAKE_CURRENT_LIST_DIR}/OPERATING.md
    ${CMAKE_CURRENT_LIST_DIR}/SDKS.md
    DESTINATION share/doc/manifold)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/manifold.socket
    DESTINATION lib/systemd/system)
install(CODE "
    file(READ \"${CMAKE_CURRENT_LIST_DIR}/manifold.service\" text)
    string(REPLACE /usr/bin/ \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/\"
        text \"\${text}\")
    file(WRITE \"${CMAKE_CURRENT_BINARY_DIR}/manifold.service\" \"\${text}\")
    file(INSTALL \"${CMAKE_CURRENT_BINARY_DIR}/manifold.service\"
        DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")")
