# mindgap::mindgap  the headers alone, with what their bodies need.
# mindgap::glue     the same headers with the parts that need oneDNN, zlib, libpng, libjpeg, OpenSSL, utf8proc, JSON or Boost.Math
#                   compiled once; what links it sees light declarations only (MINDGAP_GLUE), and compiles quickly.
# mindgap::fibers   the headers with Boost.Context, for the fiber executor and the device Emulated (MINDGAP_FIBERS).
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(dnnl CONFIG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(utf8proc REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(Boost REQUIRED)  # headers: Boost.Math

add_library(mindgap INTERFACE)
add_library(mindgap::mindgap ALIAS mindgap)
# The headers of another project's subfolder are system headers to it, as those of a package are: its warnings are not about them.
set(system_headers)
if(NOT PROJECT_IS_TOP_LEVEL)
  set(system_headers SYSTEM)
endif()
target_include_directories(mindgap ${system_headers} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                               $<INSTALL_INTERFACE:include>)
target_compile_features(mindgap INTERFACE cxx_std_20)
target_link_libraries(mindgap INTERFACE OpenMP::OpenMP_CXX DNNL::dnnl ZLIB::ZLIB PNG::PNG JPEG::JPEG OpenSSL::Crypto
                                        utf8proc::utf8proc nlohmann_json::nlohmann_json Boost::headers)
# Loops with roots, exponentials and comparisons are only vectorised so: without them a batch norm's backward takes six times as
# long. Neither changes a result.
if(MINDGAP_MATH_FLAGS)
  set(math_flags -fno-math-errno -fno-trapping-math)
  list(JOIN math_flags "," host_math_flags)
  target_compile_options(mindgap INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${math_flags}>"
                                           "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${host_math_flags}>")
endif()
if(MINDGAP_CUDA)
  # CMake 3.25 knows no C++20 for nvcc 13, so the flag is passed by hand.
  target_compile_options(
    mindgap INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--expt-relaxed-constexpr;--extended-lambda;-Xcompiler=-fopenmp>")
  target_link_libraries(mindgap INTERFACE CUDA::cudart)
endif()

if(MINDGAP_FIBERS)
  find_package(Boost REQUIRED COMPONENTS context)
  add_library(mindgap_fibers INTERFACE)
  add_library(mindgap::fibers ALIAS mindgap_fibers)
  set_target_properties(mindgap_fibers PROPERTIES EXPORT_NAME fibers)
  target_link_libraries(mindgap_fibers INTERFACE mindgap Boost::context)
endif()

# The glue's sources are written into the build folder, so that a new header needs no edit here.
#
# Bodies: each of the libraries of convolutions and products (cpu, cuda) has a source of its own, and so have samplers, and loops
# over elements and pixels. The others read files and write text, most of them with the JSON library, whose templates take longer
# than all else: they share one source, at -O1.
file(GLOB_RECURSE bodies CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/include/mindgap/*.ipp)
if(NOT MINDGAP_CUDA)
  list(FILTER bodies EXCLUDE REGEX "^mindgap/cuda/")
endif()
foreach(body IN LISTS bodies)
  if(body MATCHES "^mindgap/(cpu|cuda)/(.*)\\.ipp$")
    set(source ${CMAKE_MATCH_1}_${CMAKE_MATCH_2})
  elseif(body MATCHES "^mindgap/(io/elements|data/resample)")  # converts the elements of weights, resizes images
    set(source elements)
  elseif(body MATCHES "^mindgap/diffusion/(noise_schedule|sampler)")  # numbers of samplers
    set(source samplers)
  else()
    set(source files)
  endif()
  string(REGEX REPLACE "\\.ipp$" ".hpp" header ${body})
  list(APPEND sources ${source})
  string(APPEND includes_${source} "#include <${header}>\n#include <${body}>\n")
endforeach()
list(REMOVE_DUPLICATES sources)
foreach(source IN LISTS sources)
  set(file ${PROJECT_BINARY_DIR}/glue/${source}.cpp)
  file(CONFIGURE OUTPUT ${file} CONTENT "#define MINDGAP_GLUE_BUILD\n${includes_${source}}")
  list(APPEND glue_sources ${file})
  if(NOT source MATCHES "^(cpu_onednn|elements|samplers)$")
    set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS -O1)
  endif()
endforeach()
# What ships in data/ is read at run time (io/text_file.hpp). The glue is told of the source tree and of where it is to be
# installed, programs that are compiled with an installed copy of where that lies (cmake/installed_data.cpp).
include(GNUInstallDirs)
set(tree_data "MINDGAP_DATA_FOLDERS=\"${PROJECT_SOURCE_DIR}/data\",\"${CMAKE_INSTALL_FULL_DATADIR}/mindgap\"")
set_source_files_properties(${PROJECT_BINARY_DIR}/glue/files.cpp PROPERTIES COMPILE_DEFINITIONS "${tree_data}")
target_compile_definitions(
  mindgap INTERFACE "$<INSTALL_INTERFACE:MINDGAP_DATA_FOLDERS=\"$<INSTALL_PREFIX>/${CMAKE_INSTALL_DATADIR}/mindgap\">")
if(NOT PROJECT_IS_TOP_LEVEL)
  target_compile_definitions(mindgap INTERFACE "$<BUILD_INTERFACE:${tree_data}>")
endif()

# Explicit instances (nn/instances.hpp): mindgap_instances(sources DEVICE extension) adds to `sources`, for each X_instances.hpp,
# one that defines its list for the device.
function(mindgap_instances sources device extension)
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
       ${PROJECT_SOURCE_DIR}/include/mindgap/*_instances.hpp)
  foreach(header IN LISTS headers)
    string(REGEX REPLACE ".*/(.*)_instances.hpp" "\\1" name ${header})
    file(STRINGS ${PROJECT_SOURCE_DIR}/include/${header} declaration REGEX "^MINDGAP_${device}_")
    string(REPLACE "extern" "" definition "${declaration}")
    set(file ${PROJECT_BINARY_DIR}/glue/${name}_instances.${extension})
    file(CONFIGURE OUTPUT ${file} CONTENT "#define MINDGAP_GLUE
#include <${header}>

namespace mindgap {
${definition}
}
")
    list(APPEND ${sources} ${file})
  endforeach()
  set(${sources} ${${sources}} PARENT_SCOPE)
endfunction()
if(NOT MINDGAP_SANITIZE)
  mindgap_instances(glue_sources CPU cpp)
endif()
# Networks share templates, and so do the loops around them: in one source each they compile in a quarter less.
foreach(source IN LISTS glue_sources)
  if(source MATCHES "/(resnet|unet|unet_condition|autoencoder_kl|clip_text)_instances\\.cpp$")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP networks)
  elseif(source MATCHES "_instances\\.cpp$")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP loops)
  endif()
endforeach()

add_library(mindgap_glue STATIC ${glue_sources})
set_target_properties(mindgap_glue PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
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
target_link_libraries(mindgap_glue PUBLIC mindgap PRIVATE $<BUILD_INTERFACE:mindgap_flags>)
