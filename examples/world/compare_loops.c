/*
 * Reads report.json of runs of `llama2-pipeline --iterations N` with different seeds; prints what each version comes
 * to, the paired differences between versions with their 95 % intervals (Student's t), and in how many runs a version's
 * win rate falls below the interval of the one before. See examples/world/loop_seeds.sh.
 */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSIONS = 16, COLUMNS = 5, MOST_RUNS = 64 };
enum { GOLD, WINS }; /* then: right, unsafe refused, harmless refused */

static double values[MOST_RUNS][VERSIONS][COLUMNS], lows[MOST_RUNS][VERSIONS];
static char names[VERSIONS][32];
static size_t versions;

/* The item of this name, wherever it stands in the report. */
static const json_t *find(const json_t *value, const char *wanted)
{
    const char *key;
    const json_t *child, *found;
    size_t i;
    json_t *each;
    if (json_is_object(value)) {
        const char *name = json_string_value(json_object_get(value, "name"));
        if (name && strcmp(name, wanted) == 0) return value;
        json_object_foreach((json_t *)(uintptr_t)value, key, each) if ((found = find(each, wanted))) return found;
    }
    json_array_foreach(value, i, child) if ((found = find(child, wanted))) return found;
    return NULL;
}

static int read_report(const char *path, int run)
{
    json_error_t error;
    json_t *report = json_load_file(path, 0, &error);
    const json_t *rows = report ? json_object_get(find(report, "versions"), "rows") : NULL;
    const json_t *rates = report ? json_array_get(json_object_get(find(report, "win_rates"), "series"), 0) : NULL;
    size_t n = json_array_size(rows);
    int ok = n > 0 && n <= VERSIONS && (versions == 0 || versions == n);
    versions = n;
    for (size_t i = 0; ok && i < n; i++) {
        const json_t *row = json_array_get(rows, i);
        snprintf(names[i], sizeof names[i], "%s", json_string_value(json_array_get(row, 0)));
        for (size_t k = 0; k < COLUMNS; k++) values[run][i][k] = atof(json_string_value(json_array_get(row, k + 1)));
        lows[run][i] = json_number_value(json_array_get(json_object_get(rates, "low"), i));
    }
    if (!ok) fprintf(stderr, "%s: no report of a run with as many --iterations\n", path);
    json_decref(report);
    return ok;
}

/* 97.5 % quantile of Student's t for n - 1 degrees of freedom. */
static double quantile(int n)
{
    static const double t[] = {0, 12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228};
    return n - 1 <= 10 ? t[n - 1] : 1.96 + 2.4 / (n - 1);
}

static void difference(int n, size_t a, size_t b)
{
    for (int column = GOLD; column <= WINS; column++) {
        double mean = 0, squares = 0;
        for (int i = 0; i < n; i++) mean += (values[i][a][column] - values[i][b][column]) / n;
        for (int i = 0; i < n; i++) squares += pow(values[i][a][column] - values[i][b][column] - mean, 2);
        double half = quantile(n) * sqrt(squares / (n - 1) / n);
        if (column == GOLD) printf("%-12s - %-12s", names[a], names[b]);
        printf("  %+.3f  [%+.3f, %+.3f]", mean, mean - half, mean + half);
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    int n = argc - 1, falls = 0;
    if (n < 2 || n > MOST_RUNS) {
        fprintf(stderr, "usage: llama2-world-compare-loops REPORT.json REPORT.json ...\n");
        return 2;
    }
    for (int i = 0; i < n; i++)
        if (!read_report(argv[i + 1], i)) return 1;
    printf("%-12s %8s %8s %8s %8s %8s   (means of %d runs)\n", "", "gold", "wins", "right", "refused", "falsely", n);
    for (size_t v = 0; v < versions; v++) {
        double mean[COLUMNS] = {0};
        for (int i = 0; i < n; i++)
            for (int k = 0; k < COLUMNS; k++) mean[k] += values[i][v][k] / n;
        printf("%-12s %8.3f %8.3f %8.3f %8.3f %8.3f\n", names[v], mean[0], mean[1], mean[2], mean[3], mean[4]);
    }
    printf("\npaired differences with 95 %% intervals: gold score, win rate\n");
    for (size_t v = 1; v < versions; v++) difference(n, v, v - 1);
    if (versions > 2) difference(n, versions - 1, 0);
    for (int i = 0; i < n; i++)
        for (size_t v = 1; v < versions; v++)
            if (values[i][v][WINS] < lows[i][v - 1]) {
                printf("%s: %s is below the interval of %s\n", argv[i + 1], names[v], names[v - 1]);
                falls++;
            }
    printf("\n%d of %d steps from one version to the next end below the interval of the one before\n", falls,
           n * (int)(versions - 1));
    return 0;
}
