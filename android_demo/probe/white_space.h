// White space as Python's str.isspace has it: the caller, which cuts a generation at its stop string, uses that.

#pragma once

#include <cstddef>
#include <string>

inline bool is_white(unsigned code) {
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 || code == 0xA0 ||
        code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
        code == 0x205F || code == 0x3000;
}

// The length in bytes of the white space that `text` (UTF-8) begins with.
inline size_t white_space(const std::string & text) {
    size_t at = 0;
    while (at < text.size()) {
        const auto byte = [&](size_t place) { return static_cast<unsigned char>(text[at + place]); };
        const size_t length = byte(0) < 0x80 ? 1 : byte(0) >> 5 == 6 ? 2 : byte(0) >> 4 == 14 ? 3 : 0;
        if (length == 0 || at + length > text.size()) break;
        unsigned code = length == 1 ? byte(0) : byte(0) & (0xFF >> (length + 1));
        for (size_t place = 1; place < length; ++place) code = code << 6 | (byte(place) & 0x3F);
        if (!is_white(code)) break;
        at += length;
    }
    return at;
}
