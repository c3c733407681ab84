# mindgap_flags: how this project compiles its own code. Users of the library get none of it; what they need comes with mindgap
# itself (Library.cmake). No fast-math: results must not depend on it.
add_library(mindgap_flags INTERFACE)

set(flags -Wall -Wextra)
if(MINDGAP_NATIVE)
  list(APPEND flags -march=native)
endif()
if(MINDGAP_SANITIZE)
  list(APPEND flags -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g1
       -Wno-maybe-uninitialized)  # g++ 12 sees one in std::regex, only with sanitizers (GCC bug 105562)
  target_link_options(mindgap_flags INTERFACE -fsanitize=address,undefined)
endif()
# A newer compiler may warn of more; that must not stop a user's build.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND flags -Werror -Wno-restrict)  # g++ 12 sees an overlap in std::string's operator+ where none is (GCC bug 105651)
endif()

target_compile_options(mindgap_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${flags}>")
# g++ collects its garbage again and again otherwise, up to a GiB: a tenth of the time that templates take.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(mindgap_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:SHELL:--param ggc-min-heapsize=1048576>")
endif()
if(MINDGAP_CUDA)
  list(JOIN flags "," host_flags)
  # nvcc only warns where device code calls a function of the host, and leaves the kernel empty. all-warnings are its own and
  # those of g++.
  set(errors cross-execution-space-call)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.1 AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    set(errors all-warnings)
  endif()
  target_compile_options(mindgap_flags INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${host_flags};-Werror=${errors}>")
endif()
