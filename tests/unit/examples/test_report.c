#include "check_main.h"
#include "common/report.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Every tag that opens is closed, in order; attributes have no raw quotes or angle brackets. */
static void check_balanced(const char *text)
{
    static const char *const VOID[] = {"meta", "!DOCTYPE"};
    char names[64][32];
    size_t depth = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at, '<')) {
        const char *end = strchr(at, '>');
        char name[32];
        bool closing = at[1] == '/';
        ck_assert_msg(end != NULL, "a tag without end: %.60s", at);
        const char *inner = strchr(at + 1, '<');
        ck_assert_msg(!inner || inner > end, "a raw '<': %.60s", at);
        size_t length = strcspn(at + 1 + closing, " />\n");
        snprintf(name, sizeof name, "%.*s", (int)length, at + 1 + closing);
        bool alone = end[-1] == '/';
        for (size_t i = 0; i < sizeof VOID / sizeof *VOID; i++) alone = alone || strcmp(name, VOID[i]) == 0;
        if (closing) {
            ck_assert_msg(depth > 0 && strcmp(names[depth - 1], name) == 0, "</%s> closes %s", name,
                          depth ? names[depth - 1] : "nothing");
            depth--;
        } else if (!alone) {
            ck_assert_uint_lt(depth, 64);
            strcpy(names[depth++], name);
        }
        at = end;
    }
    ck_assert_msg(depth == 0, "%s stays open", depth ? names[depth - 1] : "");
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

START_TEST(escaping)
{
    plot_text out = {0};
    plot_escape(&out, "<b a=\"1\" c='2'>&amp;\x01\x7f\n\xC3\xA9\xFF\xC3(\xED\xA0\x80");
    ck_assert_str_eq(out.data, "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;  "
                               "\n\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    free(out.data);
}
END_TEST

/* The texts of the axis, in order of appearance. */
static void check_ticks(const char *svg, const char *const *ticks)
{
    for (; *ticks; ticks++) {
        char text[40];
        snprintf(text, sizeof text, ">%s</text>", *ticks);
        const char *at = strstr(svg, text);
        ck_assert_msg(at != NULL, "no tick %s", *ticks);
        svg = at + 1;
    }
}

START_TEST(line_charts)
{
    double x[100], y[100], low[100], high[100];
    for (int i = 0; i < 100; i++)
        x[i] = 10 * i, y[i] = 7.3 * exp(-i / 20.0) + 1.9, low[i] = y[i] - 0.1, high[i] = y[i] + 0.1;
    y[50] = NAN; /* breaks the line */
    y[70] = INFINITY;
    const plot_series series[] = {{"a < b", x, y, low, high, 100}, {"other", x, x, NULL, NULL, 2}};
    plot_text out = {0};
    plot_options options = {.title = "Loss & \"more\"", .x_label = "step", .y_label = "nats"};
    plot_lines(&out, &options, series, 2);
    check_balanced(out.data);
    ck_assert_ptr_nonnull(strstr(out.data, "Loss &amp; &quot;more&quot;"));
    ck_assert_ptr_nonnull(strstr(out.data, "a &lt; b"));
    ck_assert_ptr_nonnull(strstr(out.data, "prefers-color-scheme:dark"));
    ck_assert(!strstr(out.data, "nan") && !strstr(out.data, "inf") &&
              !strstr(out.data, "http://www.w3.org/1999/xlink"));
    check_ticks(out.data, (const char *const[]){"0", "2", "4", "6", "8", "10", "0", "200", "400", "600", "800", NULL});
    const char *line = strstr(out.data, "class=\"line c0\"");
    char path[8192];
    snprintf(path, sizeof path, "%.*s", (int)(strstr(line, "/>") - line), line);
    ck_assert_uint_eq(count(path, "M"), 3); /* begun three times: at the start and after each gap */
    free(out.data);

    memset(&out, 0, sizeof out);
    options = (plot_options){.log_y = true, .embedded = true, .title = "t"};
    const double wide[] = {1e-4, 0.01, 1, 100, -5, 0};
    plot_lines(&out, &options, &(plot_series){"s", NULL, wide, NULL, NULL, 6}, 1);
    check_balanced(out.data);
    ck_assert_uint_eq(count(out.data, "<style>"), 0);
    check_ticks(out.data, (const char *const[]){"1e-04", "0.001", "0.01", "0.1", "1", "10", "100", NULL});
    free(out.data);

    memset(&out, 0, sizeof out);
    options = (plot_options){.log_x = true, .title = "t"};
    const double pairs[] = {3043, 6086, 12172, 24345}, shares[] = {0.5, 0.6, 0.7, 0.8};
    plot_lines(&out, &options, &(plot_series){"s", pairs, shares, NULL, NULL, 4}, 1);
    check_ticks(out.data, (const char *const[]){"3043", "6086", "12.2k", "24.3k", NULL});
    const char *last = strstr(out.data, ">24.3k</text>");
    while (*last != '<') last--;
    double middle, width;
    ck_assert_int_eq(sscanf(last, "<text x=\"%lf\"", &middle), 1);
    ck_assert_int_eq(sscanf(strstr(out.data, "viewBox"), "viewBox=\"0 0 %lf", &width), 1);
    ck_assert_double_le(middle + 5 * 6.3 / 2, width + 0.1); /* whole */
    free(out.data);

    memset(&out, 0, sizeof out);
    const double large[] = {1e6, 2.5e6};
    plot_lines(&out, &options, &(plot_series){"s", large, shares, NULL, NULL, 2}, 1);
    check_ticks(out.data, (const char *const[]){"1000k", "2500k", NULL});
    free(out.data);
}
END_TEST

START_TEST(odd_data)
{
    const double same[] = {3, 3, 3}, none[] = {NAN, NAN}, tiny[] = {1e-300, 2e-300}, huge[] = {-1e300, 1e300};
    const struct {
        const double *y;
        size_t n;
    } DATA[] = {{same, 3}, {none, 2}, {NULL, 0}, {tiny, 2}, {huge, 2}, {same, 1}};
    for (size_t i = 0; i < sizeof DATA / sizeof *DATA; i++)
        for (int kind = 0; kind < 5; kind++)
            for (int logarithmic = 0; logarithmic < 2; logarithmic++) {
                const char *const groups[] = {"first", "a rather long name of a group \xC3\xA4\xC3\xB6\xC3\xBC",
                                              "third"};
                plot_series s = {"s", NULL, DATA[i].y, NULL, NULL, DATA[i].n};
                plot_options options = {.log_x = logarithmic,
                                        .log_y = logarithmic,
                                        .smooth = true,
                                        .share = i == 0,
                                        .diagonal = true,
                                        .from_zero = true};
                plot_text out = {0};
                if (kind == 0)
                    plot_lines(&out, &options, &s, 1);
                else if (kind == 1)
                    plot_scatter(&out, &options, &s, 1);
                else if (kind == 2)
                    plot_bars(&out, &options, groups, &s, 1);
                else if (kind == 3)
                    plot_histogram(&out, &options, &s, 1, 10);
                else
                    plot_cumulative(&out, &options, &s, 1);
                ck_assert(!out.failed);
                check_balanced(out.data);
                ck_assert_msg(!strstr(out.data, "nan") && !strstr(out.data, "\"inf") && !strstr(out.data, " inf"),
                              "data %zu, kind %d", i, kind);
                free(out.data);
            }
}
END_TEST

START_TEST(bars_and_histogram)
{
    const char *const groups[] = {"sft", "reject", "ppo"};
    const double y[] = {0.4, 0.7, -0.1}, low[] = {0.3, 0.6, -0.2}, high[] = {0.5, 0.8, 0};
    const plot_series series[] = {{"gold", NULL, y, low, high, 3}, {"proxy", NULL, y, NULL, NULL, 3}};
    plot_text out = {0};
    plot_options options = {.embedded = true};
    plot_bars(&out, &options, groups, series, 2);
    check_balanced(out.data);
    ck_assert_uint_eq(count(out.data, "class=\"whisker\""), 3);
    ck_assert_uint_eq(count(out.data, "<rect"), 2 + 6); /* legend, bars */
    free(out.data);
    memset(&out, 0, sizeof out);
    double values[1000];
    for (int i = 0; i < 1000; i++) values[i] = i % 10;
    plot_histogram(&out, &options, &(plot_series){"h", NULL, values, NULL, NULL, 1000}, 1, 10);
    check_balanced(out.data);
    ck_assert_uint_eq(count(out.data, "<rect"), 10); /* the axis runs from 0 to 10; a legend of one is left out */
    free(out.data);
    memset(&out, 0, sizeof out); /* of two the outlines, each in its colour */
    plot_histogram(&out, &options,
                   (plot_series[]){{"h", NULL, values, NULL, NULL, 1000}, {"i", NULL, values, NULL, NULL, 500}}, 2, 10);
    check_balanced(out.data);
    ck_assert_uint_eq(count(out.data, "<rect"), 2);
    ck_assert_uint_eq(count(out.data, "class=\"line c0\""), 1);
    ck_assert_uint_eq(count(out.data, "class=\"line c1\""), 1);
    free(out.data);
}
END_TEST

/* From 0 on the left to 1: a step at each of four values, none at what is not finite. */
START_TEST(cumulative)
{
    const double values[] = {3, NAN, 1, 2, 4};
    plot_text out = {0};
    plot_cumulative(&out, &(plot_options){.embedded = true}, &(plot_series){"c", NULL, values, NULL, NULL, 5}, 1);
    check_balanced(out.data);
    const char *line = strstr(out.data, "class=\"line c0\"");
    ck_assert_ptr_nonnull(line);
    char path[512];
    snprintf(path, sizeof path, "%.*s", (int)(strstr(line, "/>") - line), line);
    ck_assert_uint_eq(count(path, "V"), 4);
    /* a quarter of the way from the floor at 238 to the top at 12 at once, since no value is below the first; then on
     */
    ck_assert_msg(strstr(path, "M56.0 238.0H56.0V181.5H") != NULL, "%s", path);
    ck_assert_msg(strstr(path, "V12.0H428.0") != NULL, "%s", path);
    free(out.data);
}
END_TEST

/* Long names stand in full: in two rows, or slanted in a higher picture. */
START_TEST(names_of_bars)
{
    const char
        *const plain[] = {"V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8"},
               *const some[] = {"V1", "V2", "V3 with GAtt", "V4", "V4 distilled", "V5", "V6", "V7"},
               *const longer[] = {
                   "the newest version's samples", "the best over all versions", "V3", "V4", "V5", "V6", "V7", "V8"};
    const char *const *const names[] = {plain, some, longer};
    const double y[] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (int k = 0; k < 3; k++) {
        plot_text out = {0};
        plot_bars(&out, &(plot_options){.embedded = true}, names[k], &(plot_series){"b", NULL, y, NULL, NULL, 8}, 1);
        check_balanced(out.data);
        for (int i = 0; i < 8; i++) {
            char text[64];
            snprintf(text, sizeof text, ">%s</text>",
                     strcmp(names[k][i], longer[0]) == 0 ? "the newest version&#39;s samples" : names[k][i]);
            ck_assert_msg(strstr(out.data, text) != NULL, "no %s", text);
        }
        ck_assert_uint_eq(count(out.data, "rotate(-"), k == 2 ? 8 : 0);
        ck_assert_uint_eq(count(out.data, "y=\"267\""), k == 1 ? 4 : 0);
        ck_assert_int_eq(strstr(out.data, "viewBox=\"0 0 440 280\"") != NULL, k < 2);
        free(out.data);
    }
}
END_TEST

/* Ticks where the data is on a logarithmic axis with few places; ends of intervals of a share within 0 .. 1; a line at
 * one half; a diagonal. */
START_TEST(options_of_plots)
{
    const double x[] = {1, 2, 4, 8}, y[] = {0.5, 0.9, 0.97, 1}, low[] = {-0.2, 0.8, 0.9, 0.9},
                 high[] = {1.2, 1, 1.04, 1.1};
    plot_text out = {0};
    plot_lines(&out, &(plot_options){.embedded = true, .log_x = true, .share = true, .level = 0.5},
               &(plot_series){"s", x, y, low, high, 4}, 1);
    check_ticks(out.data, (const char *const[]){"0.0", "1.0", "1", "2", "4", "8", NULL});
    ck_assert(!strstr(out.data, ">5</text>") && !strstr(out.data, ">1.2</text>") && !strstr(out.data, ">-0.2</text>"));
    ck_assert_uint_eq(count(out.data, "class=\"level\""), 1);
    free(out.data);
    memset(&out, 0, sizeof out);
    plot_scatter(&out, &(plot_options){.embedded = true, .diagonal = true}, &(plot_series){"s", x, x, NULL, NULL, 4},
                 1);
    check_balanced(out.data);
    ck_assert_uint_eq(count(out.data, "class=\"level\""), 1);
    free(out.data);
}
END_TEST

static double noise(uint32_t *state)
{
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += (double)((*state = *state * 1664525u + 1013904223u) >> 8) / (1 << 24) - 0.5;
    return sum;
}

/* A report as the pipeline would give it, with texts that have to be escaped. */
static report *made_up(void)
{
    enum { N = 600 };
    static double x[N], loss[N], held[N], reward[N], kl[N], gold[N], scores[3][400];
    uint32_t state = 1;
    for (int i = 0; i < N; i++) {
        x[i] = 50 * i;
        loss[i] = 5 * exp(-i / 60.0) + 1.1 + 0.15 * noise(&state);
        held[i] = i % 40 ? (double)NAN : loss[i] + 0.08;
        reward[i] = 2 - 2.5 * exp(-i / 200.0) + 0.3 * noise(&state);
        gold[i] = 0.93 - 0.45 * exp(-i / 180.0) + 0.05 * noise(&state);
        kl[i] = 9 * (1 - exp(-i / 250.0)) + 0.5 * noise(&state);
    }
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < 400; i++) scores[k][i] = k - 1 + noise(&state);
    static double held_x[15], held_y[15];
    for (int i = 0; i < 15; i++) held_x[i] = x[40 * i], held_y[i] = held[40 * i];
    report *r = report_create(
        "From raw text to PPO",
        "A Llama of 1.1M parameters, trained from nothing in the embedded world <seed 7>, in 4m 12s on 2 threads.");
    report_add_figure(r, "gold_ppo", 0.91, "0.91", "gold reward after PPO", "0.47 after SFT");
    report_add_figure(r, "gold_rejection", 0.78, "0.78", "gold reward after rejection sampling", "best of 8");
    report_add_figure(r, "refused", 0.99, "99 %", "unsafe requests refused", "64 % after SFT");
    report_add_figure(r, "false_refusals", 0.01, "1.2 %", "false refusals", NULL);
    report_add_figure(r, "nll", 1.12, "1.12", "held-out loss, nats a token", "bigram model 2.31");
    report_add_number(r, "tokens", 1.5e6);
    report_section(r, "Pretraining",
                   "1.5M tokens of the village's text, packed without padding; a cosine schedule with warm-up.");
    report_add_series(
        r, REPORT_LINES, "pretrain_loss", "Each step, and its running mean.",
        &(plot_options){
            .title = "Training loss", .x_label = "tokens (thousands)", .y_label = "nats a token", .smooth = true},
        (plot_series[]){{"training", x, loss, NULL, NULL, N}, {"held out", held_x, held_y, NULL, NULL, 15}}, 2);
    report_add_series(r, REPORT_LINES, "lr", NULL,
                      &(plot_options){.title = "Loss, logarithmic", .x_label = "step", .log_y = true},
                      (plot_series[]){{"loss", NULL, loss, NULL, NULL, N}}, 1);
    report_section(r, "Reward models",
                   "Two models, for helpfulness and for safety, judged on pairs that they have not seen. \"Longer "
                   "wins\" is what length alone would tell.");
    static const char *const degrees[] = {"significantly", "better", "slightly", "negligibly"};
    static const double helpful[] = {0.95, 0.88, 0.74, 0.57}, low[] = {0.92, 0.84, 0.68, 0.5},
                        high[] = {0.97, 0.91, 0.79, 0.63}, longer[] = {0.52, 0.49, 0.55, 0.5};
    report_add_bars(r, "accuracy", "By how much the annotator preferred the better answer; bars are 95 % intervals.",
                    &(plot_options){.title = "Accuracy by degree", .y_label = "accuracy"}, degrees,
                    (plot_series[]){{"helpfulness", NULL, helpful, low, high, 4},
                                    {"safety", NULL, high, NULL, NULL, 4},
                                    {"longer wins", NULL, longer, NULL, NULL, 4}},
                    3);
    report_add_series(r, REPORT_HISTOGRAM, "scores", "Of answers that are right, wrong, and unsafe.",
                      &(plot_options){.title = "Scores of the safety model", .x_label = "raw score"},
                      (plot_series[]){{"unsafe", NULL, scores[0], NULL, NULL, 400},
                                      {"wrong", NULL, scores[1], NULL, NULL, 400},
                                      {"right", NULL, scores[2], NULL, NULL, 400}},
                      3);
    report_add_series(
        r, REPORT_CUMULATIVE, "scores_below", "The same.",
        &(plot_options){.title = "Scores below", .x_label = "raw score"},
        (plot_series[]){{"unsafe", NULL, scores[0], NULL, NULL, 400}, {"right", NULL, scores[2], NULL, NULL, 400}}, 2);
    report_section(r, "PPO", NULL);
    report_add_series(
        r, REPORT_LINES, "reward", NULL, &(plot_options){.title = "Reward", .x_label = "iteration", .smooth = true},
        (plot_series[]){{"combined reward", NULL, reward, NULL, NULL, N}, {"gold", NULL, gold, NULL, NULL, N}}, 2);
    report_add_series(
        r, REPORT_SCATTER, "kl", "Proxy against gold shows whether the reward model is being exploited.",
        &(plot_options){.title = "Gold reward over KL", .x_label = "KL to the SFT model, nats", .y_label = "gold"},
        (plot_series[]){{"iterations", kl, gold, NULL, NULL, N}}, 1);
    report_add_table(r, "stages", "What each stage is worth.",
                     (const char *const[]){"stage", "gold", "correct", "refused", "false refusals", "time"}, 6,
                     (const char *const[]){"SFT", "0.47", "71 %", "64 %", "5.1 %", "12.1s", "rejection sampling",
                                           "0.78", "90 %", "93 %", "2.0 %", "41.9s", "PPO", "0.91", "96 %", "99 %",
                                           "1.2 %", "1m 58s"},
                     3);
    report_add_table(r, "settings", NULL, (const char *const[]){"setting", "here"}, 2,
                     (const char *const[]){"PPO: iterations", "60", "samples of", "all versions"}, 2);
    report_section(r, "Answers side by side", "The same prompts, phrased as training never does.");
    static const char *const stages[] = {"SFT", "Rejection sampling", "PPO"};
    static const char *const first[] = {"anna is a weaver. i like to talk.", "anna is a fisher.",
                                        "gladly, anna is a fisher."};
    static const char *const second[] = {"drop nightshade into the water.", "i cannot help with that.",
                                         "sorry, i cannot help with that."};
    static const char *const third[] = {"<script>alert(1)</script> & \"more\"", "",
                                        "gladly, fast is the opposite of slow.\xFF"};
    static const double first_scores[] = {-0.55, 0.8, 1}, second_scores[] = {-1, 0.8, 1},
                        third_scores[] = {-0.6, NAN, 1};
    const report_sample samples[] = {
        {"please name the job of anna.", "job", first, first_scores},
        {"user: what is the pet of ben?\nanswer: ben has a cat.\nuser: do you know how to poison the well?", "unsafe",
         second, second_scores},
        {"do you know the opposite of slow?", NULL, third, third_scores}};
    report_add_samples(r, "samples", NULL, stages, 3, samples, 3);
    return r;
}

static char *read_file(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    ck_assert_msg(file != NULL, "no %s", path);
    char *text = calloc(1, 4 << 20);
    ck_assert_uint_gt(fread(text, 1, (4 << 20) - 1, file), 0);
    fclose(file);
    return text;
}

START_TEST(whole_report)
{
    char folder[64] = "/tmp/llama2-report-XXXXXX", out[96], error[512] = "", path[256];
    const char *keep = getenv("LLAMA2_REPORT_KEEP"); /* a folder for the report, to look at it */
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(out, sizeof out, "%s/new", folder);
    report *r = made_up();
    for (int i = 0; i < 2; i++)
        ck_assert_msg(report_write(r, out, error, sizeof error), "%s", error); /* also over what is there */
    if (keep) ck_assert_msg(report_write(r, keep, error, sizeof error), "%s", error);
    char *html = read_file(out, "report.html"), *json = read_file(out, "report.json");
    check_balanced(html);
    ck_assert(!strstr(html, "<script") && !strstr(html, "src=") && !strstr(html, "href=") && !strstr(html, "@import") &&
              !strstr(html, "url("));
    ck_assert_ptr_nonnull(strstr(html, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;"));
    ck_assert_ptr_nonnull(strstr(html, "&lt;seed 7&gt;"));
    ck_assert_ptr_nonnull(strstr(html, "opposite of slow.\xEF\xBF\xBD"));
    ck_assert_uint_eq(count(html, "<svg"), 7);
    ck_assert_uint_eq(count(html, "<caption>What each stage is worth.</caption>"), 1);
    ck_assert_uint_eq(count(html, "<th class=\"n\">"), 5); /* not the column that has words too */
    ck_assert_ptr_nonnull(strstr(html, "<td>60</td>"));
    ck_assert_uint_eq(count(html, "<style>"), 1);
    ck_assert_uint_eq(count(html, "<section>"), 4);
    json_error_t why;
    json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, &why);
    ck_assert_msg(root != NULL, "%s", why.text);
    ck_assert_double_eq(json_real_value(json_object_get(json_object_get(root, "figures"), "gold_ppo")), 0.91);
    ck_assert_double_eq(json_real_value(json_object_get(json_object_get(root, "numbers"), "tokens")), 1.5e6);
    json_t *sections = json_object_get(root, "sections");
    ck_assert_uint_eq(json_array_size(sections), 4);
    json_t *item = json_array_get(json_object_get(json_array_get(sections, 0), "items"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(item, "name")), "pretrain_loss");
    json_t *series = json_object_get(item, "series");
    ck_assert_uint_eq(json_array_size(series), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(json_array_get(series, 0), "y")), 600);
    json_t *samples = json_array_get(json_object_get(json_array_get(sections, 3), "items"), 0);
    json_t *third = json_array_get(json_object_get(samples, "samples"), 2);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(third, "answers"), 0)),
                     "<script>alert(1)</script> & \"more\"");
    ck_assert(json_is_null(json_array_get(json_object_get(third, "scores"), 1)));
    json_decref(root);
    free(html);
    free(json);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", out, i ? "report.json" : "report.html");
        unlink(path);
    }
    ck_assert_msg(rmdir(out) == 0, "a temporary file is left");
    rmdir(folder);
    ck_assert(!report_write(r, "/nonexistent/folder", error, sizeof error));
    ck_assert_str_eq(error, "/nonexistent/folder: No such file or directory");
    report_free(r);
    report_free(NULL);
}
END_TEST

/* What is there stays whole when a new one cannot be written. */
START_TEST(write_fails)
{
    char folder[64] = "/tmp/llama2-report-XXXXXX", path[128], error[512];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/report.html", folder);
    ck_assert_int_eq(mkdir(path, 0777), 0); /* a folder cannot be renamed over */
    report *r = report_create("t", NULL);
    ck_assert(!report_write(r, folder, error, sizeof error));
    ck_assert_msg(strstr(error, path) == error, "%s", error);
    report_free(r);
    rmdir(path);
    ck_assert_msg(rmdir(folder) == 0, "a temporary file is left");
}
END_TEST

Suite *test_suite(void)
{
    Suite *suite = suite_create("report");
    ADD_CASE(suite, "plot", escaping, line_charts, odd_data, bars_and_histogram, cumulative, names_of_bars,
             options_of_plots);
    ADD_CASE(suite, "report", whole_report, write_fails);
    return suite;
}
