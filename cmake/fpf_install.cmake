# cmake --install: headers, targets, package config and version file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fpf)

# Two export sets, so that find_package(fpf COMPONENTS compare) never needs libtorch.
install(TARGETS fpf_core fpf_compare fpf_kernel EXPORT fpfCoreTargets FILE_SET HEADERS)
install(TARGETS fpf_prompt fpf fpf_tools EXPORT fpfTargets FILE_SET HEADERS)
install(EXPORT fpfCoreTargets NAMESPACE fpf:: DESTINATION ${package_dir})
install(EXPORT fpfTargets NAMESPACE fpf:: DESTINATION ${package_dir})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/fpfConfig.cmake.in ${PROJECT_BINARY_DIR}/fpfConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/fpfConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/fpfConfig.cmake ${PROJECT_BINARY_DIR}/fpfConfigVersion.cmake
              ${PROJECT_SOURCE_DIR}/cmake/fpf_dependencies.cmake ${PROJECT_SOURCE_DIR}/cmake/FindLibtorch.cmake
        DESTINATION ${package_dir})
