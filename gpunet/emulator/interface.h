// What kernels and the engine that runs them say to each other. Kernels are compiled with every memory access
// instrumented and the engine is not, so this file is all that the two share.
#pragma once

struct uint3 {
    unsigned int x, y, z;
};

struct dim3 {
    unsigned int x, y, z;
    dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace gpunet_emulator {

typedef __SIZE_TYPE__ Size;
typedef unsigned long long Word;

struct Place {  // in the kernel's source
    const char* file;
    int line;
};

// Who the calling thread is. "const": the answer never changes within a thread, so the compiler may ask once.
__attribute__((const)) uint3 thread_index();
__attribute__((const)) uint3 block_index();
__attribute__((const)) dim3 block_size();
__attribute__((const)) dim3 grid_size();
__attribute__((const)) unsigned lane();  // place in the warp, 0 to 31

// Waiting for others. Each returns when all that take part have arrived.
unsigned sync_block(bool predicate, Place place);  // returns how many threads had a predicate that holds
void sync_warp(unsigned mask, Place place);
Word exchange(unsigned mask, Word value, int source_lane, Place place);  // returns the value of the source lane
unsigned ballot(unsigned mask, bool predicate, Place place);

// Shared memory of the block. A variable is known by its key, an address that is its own.
void* static_shared(const void* key, const char* name, Size bytes, Size element_bytes, Size alignment);
void* dynamic_shared(const char* name, Size element_bytes, Size alignment);

// Orders what this thread wrote before, and reads behind, with the fences of other threads.
void memory_fence();

// Atomics on 4 or 8 bytes; the address is checked like that of any other access.
Word atomic_load(const void* address, Size bytes);
bool atomic_exchange_if(void* address, Size bytes, Word expected, Word desired);

}  // namespace gpunet_emulator
