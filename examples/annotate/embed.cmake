# cmake -DFOLDER=... -DOUT=... -P embed.cmake: the files of the page as C arrays, so that the program needs no other file
set(text "#include \"annotate/pages.h\"\n")
foreach(kind html css js)
  file(READ ${FOLDER}/page.${kind} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "((0x..,){24})" "\\1\n" bytes "${bytes}")
  string(APPEND text "const char page_${kind}[] = {\n${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
