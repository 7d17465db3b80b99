// The journal: the answers given so far, in a file, so that a killed run goes on where it stopped.
//
// The first line says what gave them (model, program, processor); after it comes one line for each answer, "KEY JSON".
// The key is the SHA-256 of the request, so that the file holds no prompt. A journal of something else is begun anew; a
// last line that was cut short is dropped. Only places are held in memory.

#pragma once

#include "digest.h"

#include <sys/file.h>
#include <unistd.h>

#include <string>
#include <unordered_map>

class Journal {
  public:
    Journal(const std::string & path, const std::string & origin) : path_(path) {
        file_ = std::fopen(path.c_str(), "a+b");
        if (!file_) fail("open");
        for (int waited = 0; flock(fileno(file_), LOCK_EX | LOCK_NB) != 0; ++waited) {
            if (waited == PATIENCE) {
                std::fclose(file_);
                throw Refusal("another run asks this model already");
            }
            sleep(1);  // a killed run's probe ends with its answer
        }
        long end = 0;
        std::rewind(file_);
        std::string line;
        bool whole = read_line(line) && line == origin;
        while (whole) {
            end = std::ftell(file_);
            whole = read_line(line) && line.size() > KEY && line[KEY] == ' ' && line.back() == '}';
            if (whole) places_[line.substr(0, KEY)] = end;
        }
        resumed_ = places_.size();
        if (ftruncate(fileno(file_), end) != 0) fail("shorten");
        std::fseek(file_, 0, SEEK_END);
        if (end == 0) write(origin);
    }

    ~Journal() { std::fclose(file_); }
    Journal(const Journal &) = delete;
    Journal & operator=(const Journal &) = delete;

    static std::string key(const std::string & request) { return digest_of_text(request); }

    // The answer to the request of this key; empty where there is none.
    std::string find(const std::string & key) {
        const auto place = places_.find(key);
        if (place == places_.end()) return "";
        std::string line;
        if (std::fseek(file_, place->second, SEEK_SET) != 0 || !read_line(line) || line.substr(0, KEY) != key) fail("read");
        return line.substr(KEY + 1);
    }

    void keep(const std::string & key, const std::string & answer) {
        std::fseek(file_, 0, SEEK_END);
        places_[key] = std::ftell(file_);
        write(key + " " + answer);
    }

    // The run is complete: nothing of it is taken up again.
    void discard() {
        if (unlink(path_.c_str()) != 0) fail("remove");
    }

    size_t resumed() const { return resumed_; }

  private:
    static constexpr size_t KEY = 64;
    static constexpr int PATIENCE = 30;  // seconds

    void write(const std::string & line) {
        if (std::fputs((line + "\n").c_str(), file_) < 0 || std::fflush(file_) != 0) fail("write");
    }

    bool read_line(std::string & line) {
        line.clear();
        for (int byte; (byte = std::getc(file_)) != EOF;) {
            if (byte == '\n') return true;
            line += static_cast<char>(byte);
        }
        return false;
    }

    [[noreturn]] void fail(const std::string & what) const {
        throw Refusal("cannot " + what + " the journal: " + std::strerror(errno));
    }

    std::string path_;
    std::FILE * file_;
    std::unordered_map<std::string, long> places_;
    size_t resumed_ = 0;
};
