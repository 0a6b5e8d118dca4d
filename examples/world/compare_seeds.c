/*
 * Reads report.json of runs of `llama2-pipeline --controls` with different seeds; prints each stage's gold score and
 * refusals, and the paired differences between stages with their 95 % intervals (Student's t). See
 * examples/world/seeds.sh.
 */
#include "common/args.h"
#include "common/student.h"
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STAGES = 7, COLUMNS = 4, MOST_RUNS = 64 }; /* gold score, right, unsafe refused, harmless refused */
enum { SFT = 1, REJECTION, PPO, SFT_AGAIN, REJECTION_SHUFFLED, PPO_SHUFFLED };

static const char *const stages[STAGES] = {
    "pretrained", "SFT", "rejection sampling", "PPO", "SFT, twice as long", "rejection, shuffled", "PPO, shuffled"};

static double values[MOST_RUNS][STAGES][COLUMNS];

/* The table "outcomes", wherever it stands in the report. */
static const json_t *find_table(const json_t *value)
{
    const char *key;
    const json_t *child, *found;
    size_t i;
    json_t *each;
    if (json_is_object(value)) {
        const char *name = json_string_value(json_object_get(value, "name"));
        if (name && strcmp(name, "outcomes") == 0) return value;
        json_object_foreach((json_t *)(uintptr_t)value, key, each) if ((found = find_table(each))) return found;
    }
    json_array_foreach(value, i, child) if ((found = find_table(child))) return found;
    return NULL;
}

static int read_report(const char *path, double (*run)[COLUMNS])
{
    json_error_t error;
    json_t *report = json_load_file(path, 0, &error);
    const json_t *table = report ? find_table(report) : NULL, *rows = json_object_get(table, "rows");
    const char *second = json_string_value(json_array_get(json_object_get(table, "columns"), 1));
    int ok =
        json_array_size(rows) == STAGES && second && strcmp(second, "gold score") == 0; /* --data DIR has no judge */
    for (size_t i = 0; ok && i < STAGES; i++)
        for (size_t k = 0; k < COLUMNS; k++)
            run[i][k] = atof(json_string_value(json_array_get(json_array_get(rows, i), k + 1)));
    if (!ok) fprintf(stderr, "%s: no report of a run with --controls\n", path);
    json_decref(report);
    return ok;
}

/* Of all columns but the share of right answers. */
static void difference(int n, int a, int b)
{
    static const int shown[] = {0, 2, 3};
    printf("%-22s - %-22s", stages[a], stages[b]);
    for (size_t c = 0; c < sizeof shown / sizeof *shown; c++) {
        int k = shown[c];
        double mean = 0, squares = 0;
        for (int i = 0; i < n; i++) mean += (values[i][a][k] - values[i][b][k]) / n;
        for (int i = 0; i < n; i++) squares += pow(values[i][a][k] - values[i][b][k] - mean, 2);
        double half = student_quantile(n - 1) * sqrt(squares / (n - 1) / n);
        printf("  %+.3f [%+.3f, %+.3f]", mean, mean - half, mean + half);
    }
    puts("");
}

int main(int argc, char **argv)
{
    const args_program program = {.name = "llama2-world-compare",
                                  .summary = "Compares runs of llama2-pipeline --controls that have different seeds.",
                                  .usage = "REPORT.json REPORT.json ...",
                                  .minimum_rest = 2,
                                  .maximum_rest = MOST_RUNS,
                                  .notes = "--model, --threads and --seed say nothing here."};
    args_common common;
    int status = args_parse(&program, &common, argc, argv), n = (int)common.rest.count;
    if (status != ARGS_GO) return status;
    for (int i = 0; i < n; i++)
        if (!read_report(common.rest.items[i], values[i])) return 1;
    printf("%-22s %8s %8s %8s %8s   (means of %d runs)\n", "", "gold", "right", "refused", "falsely", n);
    for (int s = 0; s < STAGES; s++) {
        double mean[COLUMNS] = {0};
        for (int i = 0; i < n; i++)
            for (int k = 0; k < COLUMNS; k++) mean[k] += values[i][s][k] / n;
        printf("%-22s %8.3f %8.3f %8.3f %8.3f\n", stages[s], mean[0], mean[1], mean[2], mean[3]);
    }
    printf("\npaired differences, 95 %% intervals: of the gold score, of unsafe requests refused, of harmless ones\n");
    difference(n, REJECTION, SFT);
    difference(n, PPO, SFT);
    difference(n, PPO, REJECTION);
    difference(n, REJECTION, SFT_AGAIN);
    difference(n, PPO, SFT_AGAIN);
    difference(n, REJECTION, REJECTION_SHUFFLED);
    difference(n, PPO, PPO_SHUFFLED);
    difference(n, REJECTION_SHUFFLED, SFT);
    difference(n, PPO_SHUFFLED, SFT);
    return args_end(&program, true);
}
