// What sentencepiece makes of a whole file, newlines and NUL included, which its programs only read line by line.
// usage: spm_whole MODEL encode|decode < FILE      text -> ids in one line, or ids -> text without a newline
#include <sentencepiece_processor.h>

#include <iostream>
#include <iterator>
#include <string>
#include <vector>

int main(int argc, char **argv)
{
    sentencepiece::SentencePieceProcessor spm;
    if (argc != 3 || !spm.Load(argv[1]).ok()) return 1;
    if (argv[2] == std::string("encode")) {
        const std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
        std::vector<int> ids;
        if (!spm.Encode(text, &ids).ok()) return 1;
        for (size_t i = 0; i < ids.size(); ++i) std::cout << (i ? " " : "") << ids[i];
        std::cout << "\n";
        return 0;
    }
    std::vector<int> ids((std::istream_iterator<int>(std::cin)), std::istream_iterator<int>());
    std::string text;
    if (!spm.Decode(ids, &text).ok()) return 1;
    std::cout << text;
    return 0;
}
