// The program that runs one launch of a kernel under ThreadSanitizer. It reads the launch from a file and writes the
// arrays, as they are afterwards, back into it. thread_sanitizer.py writes the file: numbers of 64 bits and data.
#include <cstdlib>
#include <cstring>

#include "engine.h"

extern "C" void (*const gpunet_kernels[])(void**);
extern "C" const gpunet_emulator::Fault* gpunet_launch(const gpunet_emulator::Launch* asked);

namespace {

std::FILE* file;

void need(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "cannot %s the file of the launch\n", what);
    std::exit(2);
}

void read(void* to, std::size_t bytes) { need(std::fread(to, 1, bytes, file) == bytes, "read"); }

std::uint64_t number() {
    std::uint64_t value;
    read(&value, sizeof value);
    return value;
}

}  // namespace

int main(int, char** names) {
    using namespace gpunet_emulator;
    file = std::fopen(names[1], "rb");
    need(file, "open");
    Launch asked = {};
    asked.kernel = gpunet_kernels[number()];
    for (unsigned& size : asked.grid) size = (unsigned)number();
    for (unsigned& size : asked.block) size = (unsigned)number();
    asked.dynamic_shared_bytes = number();

    struct Value {
        char* data;  // an array, or the bytes of a scalar
        std::uint64_t bytes, is_array;
    };
    std::vector<Value> values(number());
    std::vector<void*> pointers;
    for (Value& value : values) {
        value.is_array = number();
        value.bytes = number();
        value.data = (char*)std::malloc(value.bytes ? value.bytes : 1);
        need(value.data, "hold");
        read(value.data, value.bytes);
        pointers.push_back(value.is_array ? (void*)&value.data : (void*)value.data);
    }
    for (std::uint64_t moved = number(); moved; --moved) {  // addresses in structs, of arrays that lie elsewhere here
        char* const structure = values[number()].data;
        const std::uint64_t place = number();
        char* const target = values[number()].data;
        char* const address = target + number();
        std::memcpy(structure + place, &address, sizeof address);
    }
    std::fclose(file);
    asked.values = pointers.data();
    gpunet_launch(&asked);

    file = std::fopen(names[1], "wb");
    need(file, "open");
    for (const Value& value : values) {
        if (value.is_array) need(std::fwrite(value.data, 1, value.bytes, file) == value.bytes, "write");
    }
    need(std::fclose(file) == 0, "write");
}
