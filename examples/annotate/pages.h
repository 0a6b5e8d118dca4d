/* The files of the page, as the build puts them into the program (annotate/embed.cmake): texts that end with NUL. */
#ifndef EXAMPLES_ANNOTATE_PAGES_H
#define EXAMPLES_ANNOTATE_PAGES_H

extern const char page_html[], page_css[], page_js[];

#endif
