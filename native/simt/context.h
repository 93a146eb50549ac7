// What a process keeps of the emulated device: failures, in words, and the streams' recording.
#pragma once

#include <functional>
#include <string>

#include "multiprocessor.h"

namespace simt {

// Remembers the status with its words for cudaGetErrorString, for all threads and until cudaDeviceReset where it loses the
// context, and gives it back.
cudaError_t failed(cudaError_t status, const std::string &words);
// Without words of its own.
cudaError_t failed(cudaError_t status);
// The failure that lost the context, or cudaSuccess.
cudaError_t lost();

// Runs all blocks of a grid, and words what fails.
cudaError_t run_grid(const Grid &grid);

// Does the work now, or records it where the stream is being captured.
cudaError_t issue(cudaStream_t stream, std::function<cudaError_t()> work);
bool is_recording(cudaStream_t stream);

// Makes a segmentation fault in a kernel on this thread a failed launch, if the options say so.
void catch_signals();

// "rmsnorm.cu:41, in gpu.h:170" of the source, for the address that an instruction's successor has.
std::string place_of(const void *after_instruction);
// The kernel's mangled name ("" where the dynamic symbols lack it), and its name in words.
std::string symbol_of(const void *kernel);
std::string name_of_kernel(const void *kernel);

}  // namespace simt
