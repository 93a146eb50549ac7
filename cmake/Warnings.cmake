# Every warning is an error.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;-Wno-sign-conversion;-Werror>")
# Of nvcc's parts: the C++ compiler behind it, cudafe and ptxas, which warns of spills and of local memory.
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra;-Werror=all-warnings;-Xptxas=-Werror,-warn-spills,-warn-lmem-usage>")
