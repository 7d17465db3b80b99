// SHA-256 of texts and files, in hexadecimal.

#pragma once

#include "refusal.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "sha256/sha256.h"
}

inline std::string hexadecimal(sha256_t & state) {
    unsigned char bytes[32];
    sha256_final(&state, bytes);
    std::string text;
    for (unsigned char byte : bytes) {
        char two[3];
        std::snprintf(two, sizeof two, "%02x", byte);
        text += two;
    }
    return text;
}

inline std::string digest_of_text(const std::string & text) {
    sha256_t state;
    sha256_init(&state);
    sha256_update(&state, reinterpret_cast<const unsigned char *>(text.data()), text.size());
    return hexadecimal(state);
}

inline std::string digest_of_model(const std::string & path) {
    std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) throw Refusal("cannot open the model: " + std::string(std::strerror(errno)));
    sha256_t state;
    sha256_init(&state);
    std::vector<unsigned char> part(1 << 20);
    while (const size_t count = std::fread(part.data(), 1, part.size(), file.get())) {
        sha256_update(&state, part.data(), count);
    }
    if (std::ferror(file.get())) throw Refusal("cannot read the model: " + std::string(std::strerror(errno)));
    return hexadecimal(state);
}
