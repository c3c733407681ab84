# mindgap::mindgap  the headers alone.
# mindgap::glue     the same headers with the parts that need oneDNN, zlib, libpng, OpenSSL, JSON or Boost.Math compiled once;
#                   what links it sees light declarations only (MINDGAP_GLUE), and compiles quickly.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(dnnl CONFIG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(Boost REQUIRED)  # headers: Boost.Math

add_library(mindgap INTERFACE)
add_library(mindgap::mindgap ALIAS mindgap)
target_include_directories(mindgap INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_compile_features(mindgap INTERFACE cxx_std_20)
target_link_libraries(mindgap INTERFACE OpenMP::OpenMP_CXX)
if(MINDGAP_CUDA)
  # CMake 3.25 knows no C++20 for nvcc 13, so the flag is passed by hand.
  target_compile_options(
    mindgap INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;--extended-lambda;-Xcompiler=-fopenmp>")
  target_link_libraries(mindgap INTERFACE CUDA::cudart)
endif()

# One source for each X.ipp, written into the build folder, so that a new glue header needs no edit here;
# cmake/glue/ holds explicit instances (nn/instances.hpp).
file(GLOB_RECURSE bodies CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/mindgap/*.ipp)
if(NOT MINDGAP_SANITIZE)
  file(GLOB glue_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/glue/*.cpp)
endif()
if(NOT MINDGAP_CUDA)
  list(FILTER bodies EXCLUDE REGEX "^mindgap/cuda/")
endif()
foreach(body IN LISTS bodies)
  string(REGEX REPLACE "\\.ipp$" ".hpp" header ${body})
  string(REGEX REPLACE "\\.ipp$" ".cpp" source ${body})
  string(REGEX REPLACE "^mindgap/" "" source ${source})
  string(REPLACE "/" "_" source ${source})
  configure_file(${PROJECT_SOURCE_DIR}/cmake/glue.cpp.in ${PROJECT_BINARY_DIR}/glue/${source} @ONLY)
  list(APPEND glue_sources ${PROJECT_BINARY_DIR}/glue/${source})
  # All but convolutions, products and the conversion of weights reads files and writes text: built in half the time like this.
  if(NOT source MATCHES "^(cpu_onednn|io_elements).cpp$")
    set_source_files_properties(${PROJECT_BINARY_DIR}/glue/${source} PROPERTIES COMPILE_OPTIONS -O1)
  endif()
endforeach()

add_library(mindgap_glue STATIC ${glue_sources})
add_library(mindgap::glue ALIAS mindgap_glue)
set_target_properties(mindgap_glue PROPERTIES EXPORT_NAME glue POSITION_INDEPENDENT_CODE ON)
target_compile_definitions(mindgap_glue INTERFACE MINDGAP_GLUE)
if(MINDGAP_CUDA)
  target_include_directories(mindgap_glue PRIVATE ${MINDGAP_CUDNN_INCLUDE})
  target_link_libraries(mindgap_glue PRIVATE CUDA::cudart CUDA::cublas CUDA::cublasLt ${MINDGAP_CUDNN_LIBRARY})
endif()
if(MINDGAP_SANITIZE)  # the models take minutes with sanitizers, and few tests use them: those compile what they use
  target_compile_definitions(mindgap_glue INTERFACE MINDGAP_NO_INSTANCES)
elseif(MINDGAP_CUDA)
  add_subdirectory(${PROJECT_SOURCE_DIR}/cmake/glue)
  target_sources(mindgap_glue PRIVATE $<TARGET_OBJECTS:mindgap_glue_cuda>)
endif()
target_link_libraries(
  mindgap_glue
  PUBLIC mindgap
  PRIVATE DNNL::dnnl ZLIB::ZLIB PNG::PNG OpenSSL::Crypto $<BUILD_INTERFACE:nlohmann_json::nlohmann_json>
          $<BUILD_INTERFACE:Boost::headers> $<BUILD_INTERFACE:mindgap_flags>)
