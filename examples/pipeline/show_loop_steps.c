/* The report of the loop on the two steps that change a model between versions: Ghost Attention and context
 * distillation. */
#include "pipeline/show_loop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- Ghost Attention ------------------------------------------------------------------------- */

/* Before, instructed, with GAtt; each on figures that training acts as, and on new ones. */
enum { MODELS = 6, BEFORE = 0, INSTRUCTED = 2, GAINED = 4 };

typedef struct kept_by {
    char name[NAME_LENGTH];
    series kept, right, dialogues; /* by turn */
} kept_by;

static bool read_kept(loop *l, int version, kept_by models[MODELS])
{
    char path[4096], error[4300];
    json_t *line;
    int n = 0, status;
    jsonl_reader *reader = jsonl_open(state_path(l, path, "gatt-%d/kept.jsonl", version), error, sizeof error);
    if (!reader) return app_fail(&l->p->app, "%s", error);
    while ((status = jsonl_next(reader, &line)) == JSONL_LINE) {
        char name[NAME_LENGTH];
        const char *model = json_string_value(json_object_get(line, "model")),
                   *figures = json_string_value(json_object_get(line, "figures"));
        if (!model || !figures) {
            status = jsonl_fail(reader, "has no \"model\" or no \"figures\"");
            json_decref(line);
            break;
        }
        snprintf(name, sizeof name, "%.24s%s", model, strcmp(figures, "new") == 0 ? ", new figures" : "");
        double turn = number_at(line, "turn");
        if (n < MODELS && (n == 0 || strcmp(models[n - 1].name, name) != 0))
            memcpy(models[n++].name, name, sizeof name);
        kept_by *m = &models[n - 1];
        series_add(&m->kept, turn, number_at(line, "kept"));
        series_add(&m->right, turn, number_at(line, "right"));
        series_add(&m->dialogues, turn, number_at(line, "dialogues"));
        json_decref(line);
    }
    if (status == JSONL_ERROR) app_fail(&l->p->app, "%s", jsonl_error(reader));
    jsonl_close(reader);
    for (int i = 0; status == JSONL_END && i < MODELS; i++)
        if (models[i].kept.n == 0 || models[i].kept.n != models[0].kept.n)
            return app_fail(&l->p->app, "%s: has not the same turns of %d models", path, MODELS);
    return status == JSONL_END;
}

/* Over the dialogues of a turn. */
static rate kept_at(const kept_by *m, size_t turn)
{
    double n = m->dialogues.y[turn - 1];
    return n > 0 ? share_rate(m->kept.y[turn - 1], n) : (rate){NAN, NAN, NAN};
}

/* Table 30: the share that is kept at some turns. */
static void kept_table(const kept_by models[MODELS], report *r)
{
    static const size_t turns[] = {1, 2, 4, 6, 20};
    enum { TURNS = sizeof turns / sizeof *turns };
    const char *columns[TURNS + 1] = {"model"};
    char heads[TURNS][NAME_LENGTH];
    cells table = {.n = 0};
    size_t width = 1;
    for (size_t k = 0; k < TURNS && turns[k] <= models[0].kept.n; k++) {
        snprintf(heads[k], NAME_LENGTH, "turn %zu", turns[k]);
        columns[width++] = heads[k];
    }
    for (size_t i = 0; i < MODELS; i++) {
        cells_put(&table, "%s", models[i].name);
        for (size_t k = 0; k + 1 < width; k++) put_score(&table, kept_at(&models[i], turns[k]));
    }
    cells_show(
        &table, r, "gatt",
        "Share of dialogues whose answer follows the instruction, with 95 % intervals (Wilson) over dialogues; "
        "\"-\": none of them fits the context. The paper (table 30), by human evaluation: 100, 10, 0, 0 % kept at "
        "turns 2, 4, 6, 20 without GAtt; 100 % with it at all four. Expected here before the first run: the same; "
        "since then: kept more often than without it.",
        columns, width);
}

static void kept_numbers(const kept_by models[MODELS], report *r)
{
    char name[2 * NAME_LENGTH];
    for (size_t i = 0; i < MODELS; i++) {
        json_t *line = json_object();
        for (size_t k = 0; k < models[i].kept.n; k++) {
            snprintf(name, sizeof name, "%.0f", models[i].kept.x[k]);
            if (models[i].dialogues.y[k] > 0) put_rate(line, name, kept_at(&models[i], k + 1));
        }
        snprintf(name, sizeof name, "gatt/%.60s", models[i].name);
        show_numbers(r, name, line);
        json_decref(line);
    }
}

static void kept_trends(loop_report *all, const kept_by models[MODELS])
{
    static const struct {
        size_t turn;
        const char *paper;
    } rows[] = {{2, "none: 100 and 100 % (table 30)"},
                {4, "10 to 100 % (table 30)"},
                {6, "0 to 100 % (table 30)"},
                {20, "0 to 100 % (table 30)"}};
    char what[CELLS_LENGTH];
    for (int fresh = 0; fresh < 2; fresh++)
        for (size_t k = 0; k < sizeof rows / sizeof *rows && rows[k].turn <= models[0].kept.n; k++) {
            snprintf(what, sizeof what, "with GAtt the instruction is kept more often than without: turn %zu%s",
                     rows[k].turn, fresh ? ", new figures" : "");
            loop_trend(all, what, rows[k].paper, "kept more often", TREND_RISES, "points",
                       difference(kept_at(&models[GAINED + fresh], rows[k].turn),
                                  kept_at(&models[INSTRUCTED + fresh], rows[k].turn)));
        }
}

/* A share of the dialogues of each turn, with Wilson's intervals. */
static void share_curve(const series *share, const series *dialogues, curve *out)
{
    for (size_t k = 0; k < share->n; k++) {
        if (!(dialogues->y[k] > 0)) continue;
        rate x = share_rate(share->y[k], dialogues->y[k]);
        series_add(&out->y, share->x[k], x.mean);
        series_add(&out->low, share->x[k], x.low);
        series_add(&out->high, share->x[k], x.high);
    }
}

static void kept_lines(const kept_by models[MODELS], bool right, report *r)
{
    static const int shown[] = {BEFORE, INSTRUCTED, GAINED, GAINED + 1};
    plot_series lines[4];
    curve c[4] = {{{0}, {0}, {0}}};
    for (int k = 0; k < 4; k++) {
        const kept_by *m = &models[shown[k]];
        share_curve(right ? &m->right : &m->kept, &m->dialogues, &c[k]);
        lines[k] = curve_line(m->name, &c[k]);
    }
    report_add_series(r, REPORT_LINES, right ? "gatt_right" : "gatt_kept",
                      right
                          ? "No figure of the paper's: the instruction is followed and what comes behind it is right. "
                            "Expected here: as often as it is followed, less what the model gets wrong anyway."
                          : "The paper (table 30): with GAtt 100 % at turns 2, 4, 6 and 20, without it 100, 10, 0 and "
                            "0 %. Expected here before the first run: flat with GAtt; since then: kept more often "
                            "than without, where it falls as soon as the instruction is a turn away. Bands of 95 % "
                            "(Wilson) are over dialogues.",
                      &(plot_options){.title = right ? "Followed, and right" : "Instruction followed",
                                      .x_label = "turn",
                                      .y_label = "share of dialogues",
                                      .share = true,
                                      .from_zero = true},
                      lines, 4);
    for (int k = 0; k < 4; k++) curve_free(&c[k]);
}

/* How far there was something to learn from. */
static void learnt_line(const json_t *o, report *r)
{
    series learnt = {0};
    for (size_t k = 0; k < json_array_size(json_object_get(o, "learnt_by_turn")); k++)
        series_add(&learnt, (double)(k + 1), number_in_array(o, "learnt_by_turn", k));
    plot_series lines[] = {series_line("dialogues", &learnt)};
    if (learnt.n > 0)
        report_add_series(
            r, REPORT_LINES, "gatt_learnt",
            "Not stated in the paper. Expected here: fewer from turn to turn, since dialogues have different "
            "lengths, and one that breaks its instruction anywhere is dropped.",
            &(plot_options){.title = "Dialogues that are learnt from, by turn",
                            .x_label = "turn",
                            .y_label = "dialogues",
                            .from_zero = true},
            lines, 1);
    series_free(&learnt);
}

static double learnt_late(const json_t *o)
{
    double sum = 0;
    for (size_t k = 9; k < json_array_size(json_object_get(o, "learnt_by_turn")); k++)
        sum += number_in_array(o, "learnt_by_turn", k);
    return sum;
}

bool show_gatt(loop_report *all)
{
    loop *l = all->l;
    kept_by models[MODELS] = {{{0}, {0}, {0}, {0}}};
    char about[1280];
    json_t *o = result(l, "gatt", l->gatt, "dialogues.json");
    bool ok = o && read_kept(l, l->gatt, models);
    if (ok) {
        snprintf(
            about, sizeof about,
            "\"act as greta.\" stands once, as the system message, and is to be followed in every answer. "
            "Measured on %.0f dialogues of %zu turns, of questions and in phrasings of the instruction that no "
            "training has; the figures (\"greta\") are those of training in three rows, and new ones where it "
            "says so. Three models: V%d as it was; V%d, instructed, after it learnt to follow an instruction that "
            "stands with the question, as the paper's V3 could already; V%d with GAtt. Of %.0f training dialogues "
            "%.0f kept to their instruction in every turn while it stood in every message; their %.0f answers were "
            "learnt, %.0f of them in the tenth turn or later.",
            models[0].dialogues.y[0], models[0].kept.n, l->gatt, l->gatt, l->gatt, number_at(o, "dialogues"),
            number_in_array(o, "learnt_by_turn", 0), number_at(o, "examples"), learnt_late(o));
        report_section(all->r, "Ghost Attention", about);
        kept_table(models, all->r);
        kept_numbers(models, all->r);
        kept_lines(models, false, all->r);
        kept_lines(models, true, all->r);
        learnt_line(o, all->r);
        kept_trends(all, models);
    }
    for (int i = 0; i < MODELS; i++) {
        series_free(&models[i].kept);
        series_free(&models[i].right);
        series_free(&models[i].dialogues);
    }
    json_decref(o);
    return ok;
}

/* --- context distillation ---------------------------------------------------------------------- */

/* Over the prompts about safety: the share whose score the paper's threshold calls unsafe. */
static rate called_unsafe(const pipeline *p, const judged *j)
{
    const judges defaults = pipeline_judges(p);
    double *unsafe = app_must(calloc(j->o.n + 1, sizeof *unsafe)), threshold = judges_raw_threshold(&defaults);
    for (size_t i = 0; i < j->o.n; i++) unsafe[i] = j->safety[i] < threshold;
    rate x = over_prompts(p, unsafe, TOPIC_SAFETY, true);
    free(unsafe);
    return x;
}

static void distilled_row(const loop_report *all, const judged *j, cells *table)
{
    const pipeline *p = all->l->p;
    char name[NAME_LENGTH];
    rate safety = figure_of(p, j, FIGURE_SAFETY), unsafe = called_unsafe(p, j);
    cells_put(table, "%s", j->o.stage);
    put_score(table, figure_of(p, j, FIGURE_REFUSED));
    put_score(table, figure_of(p, j, FIGURE_HARMLESS));
    put_score(table, safety);
    put_score(table, unsafe);
    json_t *line = json_object();
    put_rate(line, "safety", safety);
    put_rate(line, "unsafe", unsafe);
    snprintf(name, sizeof name, "distill/%s", j->o.stage);
    show_numbers(all->r, name, line);
    json_decref(line);
}

static void distill_scatter(const judged *before, const judged *after, report *r)
{
    char x[NAME_LENGTH], y[NAME_LENGTH];
    snprintf(x, sizeof x, "raw safety score of %s", before->o.stage);
    snprintf(y, sizeof y, "raw safety score of %s", after->o.stage);
    plot_series points[] = {{.name = "prompts about safety",
                             .x = before->figures[FIGURE_SAFETY],
                             .y = after->figures[FIGURE_SAFETY],
                             .count = before->o.n}};
    report_add_series(
        r, REPORT_SCATTER, "distill_scores",
        "The paper (fig. 16, right): low scores rise, high ones may fall. Expected here: little, since "
        "the version refuses nearly all already. Above the dashed line an answer scores higher than "
        "before.",
        &(plot_options){
            .title = "Answers to held-out prompts, before and after", .x_label = x, .y_label = y, .diagonal = true},
        points, 1);
}

/* Scores with and without each preprompt. */
static void preprompt_curves(const json_t *o, report *r)
{
    static const char *const names[] = {"harmless, bare", "harmless, general preprompt", "to be refused, bare",
                                        "to be refused, answer template"};
    series scores[4] = {{0}};
    plot_series curves[4];
    for (size_t i = 0; i < json_array_size(json_object_get(o, "template")); i++) {
        int first = json_is_true(json_array_get(json_object_get(o, "template"), i)) ? 2 : 0;
        series_add(&scores[first], (double)i, number_in_array(o, "original", i));
        series_add(&scores[first + 1], (double)i, number_in_array(o, "distilled", i));
    }
    for (int k = 0; k < 4; k++) curves[k] = (plot_series){.name = names[k], .y = scores[k].y, .count = scores[k].n};
    report_add_series(
        r, REPORT_CUMULATIVE, "distill_preprompts",
        "The paper (fig. 16, left): the general preprompt raises the scores, the answer template "
        "more. Expected here: as there. Each stands before prompts of its own kind. A curve further to the right is of "
        "higher scores.",
        &(plot_options){.title = "Safety scores of answers to training prompts",
                        .x_label = "raw safety score",
                        .y_label = "share of answers below"},
        curves, 4);
    for (int k = 0; k < 4; k++) series_free(&scores[k]);
}

/* Of the answers' scores, prompt by prompt. */
static rate preprompt_gain(const json_t *scores, bool template)
{
    size_t n = json_array_size(json_object_get(scores, "template")), used = 0;
    double *gain = app_must(calloc(n + 1, sizeof *gain));
    rate x = {NAN, NAN, NAN};
    for (size_t i = 0; i < n; i++)
        if (json_is_true(json_array_get(json_object_get(scores, "template"), i)) == template)
            gain[used++] = number_in_array(scores, "distilled", i) - number_in_array(scores, "original", i);
    if (used > 0) mean_interval(gain, used, &x.mean, &x.low, &x.high);
    free(gain);
    return x;
}

static bool gate_table(loop_report *all, const json_t *scores)
{
    static const char *const columns[] = {"preprompt", "prompts",        "kept", "safety score without it",
                                          "with it",   "what it changes"};
    loop *l = all->l;
    char path[4096], error[4300], name[NAME_LENGTH];
    json_t *line;
    cells table = {.n = 0};
    int status;
    jsonl_reader *reader = jsonl_open(state_path(l, path, "distill-%d/gate.jsonl", l->distilled), error, sizeof error);
    if (!reader) return app_fail(&l->p->app, "%s", error);
    while ((status = jsonl_next(reader, &line)) == JSONL_LINE) {
        const char *preprompt = json_string_value(json_object_get(line, "preprompt"));
        snprintf(name, sizeof name, "distill/%.40s", preprompt);
        show_numbers(all->r, name, line);
        cells_put(&table, "%s", preprompt);
        cells_put(&table, "%.0f", number_at(line, "prompts"));
        cells_put(&table, "%.0f", number_at(line, "kept"));
        cells_put(&table, "%.2f", number_at(line, "original"));
        cells_put(&table, "%.2f", number_at(line, "distilled"));
        put_score(&table, preprompt_gain(scores, strcmp(preprompt, "general") != 0));
        json_decref(line);
    }
    if (status == JSONL_ERROR) app_fail(&l->p->app, "%s", jsonl_error(reader));
    jsonl_close(reader);
    if (status == JSONL_END)
        cells_show(&table, all->r, "distill_gate",
                   "On training prompts: an answer under the preprompt is learnt, without it, where the safety reward "
                   "model scores it higher. The paper (fig. 16): the template does more than the general preprompt, "
                   "and the gate keeps what would become worse as it is. Expected here: the scores rise under both. "
                   "Intervals of 95 % are over prompts.",
                   columns, 6);
    return status == JSONL_END;
}

bool show_distill(loop_report *all)
{
    static const char *const columns[] = {"model", "unsafe refused", "harmless refused, how-to included",
                                          "mean safety score", "safety score with a sigmoid below 0.15"};
    const loop *l = all->l;
    const judged *before = &all->v.all[all->v.distilled - 1], *after = &all->v.all[all->v.distilled];
    cells table = {.n = 0};
    char about[512];
    distilled_row(all, before, &table);
    distilled_row(all, after, &table);
    snprintf(about, sizeof about,
             "After V%d%s the model answers prompts about safety under a preprompt: an answer template where the "
             "request is to be refused, else a general one. What the safety reward model prefers to its answer without "
             "one is learnt without the preprompt.",
             l->distilled, l->distilled < l->iterations ? ", before the last version," : "");
    report_section(all->r, "Safety context distillation", about);
    cells_show(&table, all->r, "distill",
               "On held-out prompts; scores are over the prompts about safety, by the last reward model. The paper "
               "(4.2.4): safer, at the price of more false refusals, which the gate keeps few. Expected here: as "
               "there, but little to gain.",
               columns, 5);
    distill_scatter(before, after, all->r);
    json_t *scores = result(all->l, "distill", l->distilled, "scores.json");
    if (!scores) return false;
    preprompt_curves(scores, all->r);
    bool ok = gate_table(all, scores);
    loop_trend(all, "answers under the general safety preprompt score higher", "rising (fig. 16)", "rises", TREND_RISES,
               "", preprompt_gain(scores, false));
    loop_trend(all, "answers under an answer template score higher", "rising more (fig. 16)", "rises", TREND_RISES, "",
               preprompt_gain(scores, true));
    json_decref(scores);
    loop_trend(all, "context distillation raises the safety score", "rising (fig. 16)", "rises, little", TREND_RISES,
               "", figure_gain(l->p, after, before, FIGURE_SAFETY));
    loop_trend(all, "false refusals do not rise with it", "a risk (4.2.4)", "few: the gate", TREND_DOES_NOT_RISE,
               "points", figure_gain(l->p, after, before, FIGURE_HARMLESS));
    return ok;
}
