# cmake --install: headers, targets, package config and version file.
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

# libtorch and the CUDA libraries that its wheel brings, some 4 GB and only when asked for: with
#   cmake --install build/release --prefix P --component libtorch
# beside the programs, P runs on a machine that has neither.
install(DIRECTORY ${Libtorch_HOME}/lib DESTINATION ${CMAKE_INSTALL_LIBDIR}/fpf/torch USE_SOURCE_PERMISSIONS
        COMPONENT libtorch EXCLUDE_FROM_ALL)
file(REAL_PATH ${Libtorch_HOME} wheel)
cmake_path(GET wheel PARENT_PATH packages)
if(IS_DIRECTORY ${packages}/nvidia)
  install(DIRECTORY ${packages}/nvidia DESTINATION ${CMAKE_INSTALL_LIBDIR}/fpf USE_SOURCE_PERMISSIONS
          COMPONENT libtorch EXCLUDE_FROM_ALL)
endif()
