# nvcc 13: the machine's (CUDACXX, CUDA_HOME, PATH, /usr/local/cuda), or else NVIDIA's from PyPI in a virtual environment under
# the build folder, made here at the first configuration. Nvcc_EXECUTABLE is the result.
set(nvcc_wheels
  nvidia-cuda-nvcc==13.5.37 nvidia-cuda-runtime==13.5.37 nvidia-cuda-crt==13.5.37 nvidia-nvvm==13.5.37 nvidia-cuda-cccl==13.3.5.0.6
  nvidia-cuda-cuobjdump==13.5.37 nvidia-cuda-nvdisasm==13.5.37)

function(nvcc_is_13 result nvcc)
  execute_process(COMMAND ${nvcc} --version OUTPUT_VARIABLE text ERROR_QUIET)
  if(NOT text MATCHES "release 13\\.")
    string(REGEX MATCH "release [0-9.]+" release "${text}")
    message(STATUS "${nvcc} is not taken: it is ${release}, 13 is needed")
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

function(install_nvcc venv)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  message(STATUS "installing NVIDIA's nvcc from PyPI into ${venv}")
  file(REMOVE_RECURSE ${venv})
  execute_process(COMMAND ${Python3_EXECUTABLE} -m venv ${venv} COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${venv}/bin/pip install --quiet --disable-pip-version-check --no-deps ${nvcc_wheels} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

get_filename_component(nvcc_folder "$ENV{CUDACXX}" DIRECTORY)
find_program(Nvcc_EXECUTABLE nvcc HINTS ${nvcc_folder} ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin
  VALIDATOR nvcc_is_13)
if(NOT Nvcc_EXECUTABLE)
  set(nvcc_venv ${CMAKE_BINARY_DIR}/nvcc)
  set(nvcc_stamp ${nvcc_venv}/installed.txt)
  set(nvcc_installed "")
  if(EXISTS ${nvcc_stamp})
    file(READ ${nvcc_stamp} nvcc_installed)
  endif()
  if(NOT nvcc_installed STREQUAL "${nvcc_wheels}")
    install_nvcc(${nvcc_venv})
    file(WRITE ${nvcc_stamp} "${nvcc_wheels}")
  endif()
  file(GLOB nvcc_found ${nvcc_venv}/lib/python3*/site-packages/nvidia/cu13/bin/nvcc)
  set(Nvcc_EXECUTABLE "${nvcc_found}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Nvcc REQUIRED_VARS Nvcc_EXECUTABLE
  REASON_FAILURE_MESSAGE "install CUDA 13 and name its nvcc (CUDACXX=/usr/local/cuda/bin/nvcc), or let pip install the wheels")
