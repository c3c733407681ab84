# The CUDA language, only when MINDGAP_CUDA is ON; then a missing nvcc stops the configuration.
if(MINDGAP_CUDA)
  include(CheckLanguage)
  find_program(MINDGAP_NVCC nvcc PATHS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
  if(MINDGAP_NVCC AND NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${MINDGAP_NVCC})
  endif()
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "MINDGAP_CUDA is ON but nvcc does not work or was not found. Install the CUDA toolkit, put nvcc on PATH "
                        "or pass -DCMAKE_CUDA_COMPILER=/path/to/nvcc; or configure with -DMINDGAP_CUDA=OFF.")
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90 CACHE STRING "Compute capabilities to build for")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  # cuDNN has no CMake package: it is in the toolkit, among the system's libraries, or in Python's package nvidia-cudnn.
  execute_process(COMMAND python3 -c "import nvidia.cudnn as c; print(list(c.__path__)[0])" OUTPUT_VARIABLE python_cudnn
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  find_path(MINDGAP_CUDNN_INCLUDE cudnn.h PATHS ${CUDAToolkit_INCLUDE_DIRS} ${python_cudnn}/include)
  find_library(MINDGAP_CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 PATHS ${CUDAToolkit_LIBRARY_DIR} ${python_cudnn}/lib)
  if(NOT MINDGAP_CUDNN_INCLUDE OR NOT MINDGAP_CUDNN_LIBRARY)
    message(FATAL_ERROR "MINDGAP_CUDA is ON but cuDNN 9 was not found. Install it beside the CUDA toolkit, or with pip as "
                        "nvidia-cudnn-cu13; or pass -DMINDGAP_CUDNN_INCLUDE and -DMINDGAP_CUDNN_LIBRARY.")
  endif()
  file(STRINGS ${MINDGAP_CUDNN_INCLUDE}/cudnn_version.h cudnn_version REGEX "define CUDNN_(MAJOR|MINOR) ")
  string(REGEX REPLACE "[^0-9]*([0-9]+)[^0-9]*([0-9]+).*" "\\1.\\2" cudnn_version "${cudnn_version}")
  if(cudnn_version VERSION_LESS 9.8)
    message(FATAL_ERROR "cuDNN ${cudnn_version} in ${MINDGAP_CUDNN_INCLUDE} is too old: 9.8 is the first that makes plans for a GPU "
                        "that it is only told of.")
  endif()
endif()

# mindgap_sources_language(source...): an app's or a test's source is C++ in a CPU build and CUDA in a CUDA build.
function(mindgap_sources_language)
  if(MINDGAP_CUDA)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CUDA)
  endif()
endfunction()
