# Install and find_package(mindgap), or find_package(mindgap COMPONENTS fibers). include/mindgap/kernels is a link to kernels/ in
# the source tree and a folder here.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/mindgap)

install(
  DIRECTORY ${PROJECT_SOURCE_DIR}/include/mindgap
  DESTINATION include
  FILES_MATCHING
  PATTERN kernels EXCLUDE
  PATTERN "*.hpp"
  PATTERN "*.ipp")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/kernels DESTINATION include/mindgap FILES_MATCHING PATTERN "*.hpp")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/data/clip ${PROJECT_SOURCE_DIR}/data/classes ${PROJECT_SOURCE_DIR}/data/prompts
        DESTINATION ${CMAKE_INSTALL_DATADIR}/mindgap)
install(FILES ${PROJECT_SOURCE_DIR}/cmake/installed_data.cpp DESTINATION ${CMAKE_INSTALL_DATADIR}/mindgap)
target_sources(mindgap_glue INTERFACE $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_DATADIR}/mindgap/installed_data.cpp>)
install(TARGETS mindgap mindgap_glue EXPORT mindgap)
install(EXPORT mindgap FILE mindgap_targets.cmake NAMESPACE mindgap:: DESTINATION ${package_folder})
if(MINDGAP_FIBERS)  # a file of its own: only who wants it must have Boost.Context
  install(TARGETS mindgap_fibers EXPORT mindgap_fibers)
  install(EXPORT mindgap_fibers FILE mindgap_fibers.cmake NAMESPACE mindgap:: DESTINATION ${package_folder})
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mindgap-config.cmake.in mindgap-config.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(mindgap-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/mindgap-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/mindgap-config-version.cmake
              ${PROJECT_SOURCE_DIR}/cmake/Findutf8proc.cmake
        DESTINATION ${package_folder})
