#include "annotate/generate.h"

#include "common/records.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ACTIVE = 32, CHUNK = 256 }; /* sequences at once; tokens of a prompt that are read in a round */

/* A response on its way. */
typedef struct sequence {
    llama2_session *session;
    llama2_decoder *decoder;
    int32_t *prompt, next; /* next: drawn, and not read yet */
    int64_t n_prompt, read, generated;
    char *text;
    size_t length, capacity;
    bool ended;
} sequence;

typedef struct job {
    int64_t item;
    bool swapped;        /* the first response is of variant 1 */
    bool failed, active; /* active: the thread is at it, and nobody else may free it */
    bool unwanted;       /* to be freed when the thread is not at it */
    char error[256];     /* why it failed */
    sequence of[2];      /* by variant */
    struct job *next;
} job;

struct generator {
    store *s;
    generator_settings set;
    int64_t context[2];
    pthread_t thread;
    pthread_mutex_t lock; /* of all below, and of the texts; the sessions belong to the thread */
    pthread_cond_t work;
    job *jobs;
    bool stop;
};

/* --- sequences -------------------------------------------------------------------------------- */

static void sequence_free(sequence *q)
{
    llama2_session_free(q->session);
    llama2_decoder_free(q->decoder);
    free(q->prompt);
    free(q->text);
}

static void job_free(job *j)
{
    for (int v = 0; v < 2; v++) sequence_free(&j->of[v]);
    free(j);
}

/* The prompt as tokens of a variant, its earliest turns left out where they leave no room for a response. NULL: wrong.
 */
static int32_t *encode(generator *g, int v, const record *r, int64_t *n)
{
    int64_t room = g->context[v] - g->set.max_new_tokens;
    int32_t *tokens = room > 0 ? malloc((size_t)room * sizeof *tokens) : NULL;
    *n = tokens ? record_encode(g->set.tokenizers[v], r, NULL, tokens, NULL, room) : 0;
    if (*n > 0) return tokens;
    free(tokens);
    return NULL;
}

static const char *why_not(int64_t n)
{
    return n < 0 ? llama2_last_error() : "the prompt is too long for the model";
}

static bool append(sequence *q, const char *text, size_t n)
{
    if (q->length + n + 1 > q->capacity) {
        size_t capacity = 2 * (q->length + n + 64);
        char *grown = realloc(q->text, capacity);
        if (!grown) return false;
        q->text = grown;
        q->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++) {
        /* Responses lose white space at both ends, as llama2_preferences_sample has it; the end is cut when it is
         * there. A NUL that was sampled would end the text for all that follows. */
        bool leaves = text[i] == 0 || (q->length == 0 && strchr(" \t\r\n", text[i]));
        if (!leaves) q->text[q->length++] = text[i];
    }
    q->text[q->length] = 0;
    return true;
}

/* --- a round ---------------------------------------------------------------------------------- */

/* The sequences of a model's variant(s) that have something to read, and what. */
typedef struct round {
    llama2_session *sessions[ACTIVE];
    sequence *of[ACTIVE];
    job *jobs[ACTIVE];
    int variant[ACTIVE];
    int32_t n;
    int32_t *tokens;
    int64_t offsets[ACTIVE + 1];
} round;

static int64_t to_read(const sequence *q)
{
    int64_t left = q->n_prompt - q->read;
    return left > CHUNK ? CHUNK : left > 0 ? left : 1;
}

static void add(round *r, job *j, int v)
{
    sequence *q = &j->of[v];
    int64_t n = to_read(q), at = r->offsets[r->n];
    memcpy(r->tokens + at, q->read < q->n_prompt ? q->prompt + q->read : &q->next, (size_t)n * sizeof *r->tokens);
    r->sessions[r->n] = q->session;
    r->of[r->n] = q;
    r->jobs[r->n] = j;
    r->variant[r->n] = v;
    r->offsets[++r->n] = at + n;
}

static void fail(generator *g, job *j, const char *why)
{
    pthread_mutex_lock(&g->lock);
    if (!j->failed) snprintf(j->error, sizeof j->error, "%s", why);
    j->failed = true;
    pthread_mutex_unlock(&g->lock);
}

/* Draws the next token and its text; the end of the response at an end of text, at its length, or where the context is
 * full. */
static bool draw(generator *g, job *j, int v)
{
    sequence *q = &j->of[v];
    llama2_sampling o;
    const char *text;
    size_t n;
    llama2_sampling_init(&o, sizeof o);
    o.temperature = g->set.temperatures[v];
    o.top_p = g->set.top_p;
    o.seed = g->set.seed;
    o.sample_id = 2 * (uint64_t)j->item + (uint64_t)v;
    if (llama2_session_sample(q->session, &o, &q->next, NULL) < 0) return false;
    bool ended =
        llama2_model_is_eos(g->set.models[v], q->next) || q->next == llama2_tokenizer_eos(g->set.tokenizers[v]);
    if (!ended) {
        if (llama2_decoder_push(q->decoder, q->next, &text, &n) < 0) return false;
        pthread_mutex_lock(&g->lock);
        bool ok = append(q, text, n);
        pthread_mutex_unlock(&g->lock);
        if (!ok) return false;
        q->generated++;
        ended = q->generated >= g->set.max_new_tokens || llama2_session_position(q->session) >= g->context[v];
    }
    if (!ended) return true;
    if (llama2_decoder_finish(q->decoder, &text, &n) < 0) return false;
    pthread_mutex_lock(&g->lock);
    bool ok = append(q, text, n);
    while (ok && q->length > 0 && strchr(" \t\r\n", q->text[q->length - 1])) q->text[--q->length] = 0;
    pthread_mutex_unlock(&g->lock);
    if (!ok) return false;
    if (!store_respond(g->s, j->item, j->swapped ? 1 - v : v, q->text)) {
        fail(g, j, store_error());
        return true;
    }
    pthread_mutex_lock(&g->lock);
    q->ended = true; /* and not before it is kept: the page may say so now */
    pthread_mutex_unlock(&g->lock);
    return true;
}

static void forward(generator *g, round *r)
{
    if (r->n == 0) return;
    if (llama2_session_feed_batch(r->sessions, r->n, r->tokens, r->offsets) < 0) {
        for (int32_t i = 0; i < r->n; i++) fail(g, r->jobs[i], llama2_last_error());
        return;
    }
    for (int32_t i = 0; i < r->n; i++) {
        sequence *q = r->of[i];
        if (q->read < q->n_prompt) q->read += r->offsets[i + 1] - r->offsets[i];
        if (q->read == q->n_prompt && !draw(g, r->jobs[i], r->variant[i])) fail(g, r->jobs[i], llama2_last_error());
    }
}

/* One forward for each model: both variants are in one where they are the same model at two temperatures. */
static void work(generator *g, job *const *jobs, int32_t n, round *r)
{
    const bool one = g->set.models[0] == g->set.models[1];
    for (int pass = 0; pass < (one ? 1 : 2); pass++) {
        r->n = 0;
        for (int32_t i = 0; i < n; i++)
            for (int v = 0; v < 2; v++)
                if ((one || v == pass) && !jobs[i]->of[v].ended && !jobs[i]->failed) add(r, jobs[i], v);
        forward(g, r);
    }
}

/* What is done is in the store; of what failed the reason alone is kept. */
static void drop_done(generator *g)
{
    for (job **at = &g->jobs; *at;) {
        job *j = *at;
        if (j->unwanted || (j->of[0].ended && j->of[1].ended)) {
            *at = j->next;
            job_free(j);
        } else {
            for (int v = 0; v < 2 && j->failed; v++) {
                sequence_free(&j->of[v]);
                j->of[v] = (sequence){.session = NULL};
            }
            at = &j->next;
        }
    }
}

static void *run(void *user)
{
    generator *g = user;
    round r = {.n = 0};
    r.tokens = app_must(malloc((size_t)ACTIVE * CHUNK * sizeof *r.tokens));
    pthread_mutex_lock(&g->lock);
    while (!g->stop) {
        job *active[ACTIVE / 2];
        int32_t n = 0;
        drop_done(g);
        for (job *j = g->jobs; j && n < ACTIVE / 2; j = j->next)
            if (!j->failed) active[n++] = j, j->active = true;
        if (n == 0) {
            pthread_cond_wait(&g->work, &g->lock);
            continue;
        }
        pthread_mutex_unlock(&g->lock);
        work(g, active, n, &r);
        g->set.news(g->set.user);
        pthread_mutex_lock(&g->lock);
        for (int32_t i = 0; i < n; i++) active[i]->active = false;
    }
    pthread_mutex_unlock(&g->lock);
    free(r.tokens);
    return NULL;
}

/* --- for the server --------------------------------------------------------------------------- */

generator *generator_start(app *a, store *s, const generator_settings *set)
{
    generator *g = app_must(calloc(1, sizeof *g));
    g->s = s;
    g->set = *set;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->work, NULL);
    for (int v = 0; v < 2; v++) {
        llama2_config c = {.struct_size = sizeof c};
        if (!app_try(a, llama2_model_config(set->models[v], &c), "model")) goto failed;
        g->context[v] = c.max_seq_len;
        if (set->max_new_tokens < g->context[v]) continue;
        app_fail(a, "--max-new-tokens leaves no room for a prompt in the model's context of %lld tokens",
                 (long long)c.max_seq_len);
        goto failed;
    }
    if (pthread_create(&g->thread, NULL, run, g) == 0) return g;
    app_fail(a, "no thread for the responses");
failed:
    pthread_cond_destroy(&g->work);
    pthread_mutex_destroy(&g->lock);
    free(g);
    return NULL;
}

void generator_stop(generator *g)
{
    if (!g) return;
    pthread_mutex_lock(&g->lock);
    g->stop = true;
    pthread_cond_signal(&g->work);
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->thread, NULL);
    while (g->jobs) {
        job *j = g->jobs;
        g->jobs = j->next;
        job_free(j);
    }
    pthread_cond_destroy(&g->work);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

/* Which variant's response stands first: a restart shows the same, and nobody can tell from outside. */
static bool is_swapped(const generator *g, int64_t item)
{
    return app_mix(store_secret(g->s), (uint64_t)item) & 1;
}

static job *find(generator *g, int64_t item)
{
    job *j = g->jobs;
    while (j && j->item != item) j = j->next;
    return j;
}

/* A job that failed is begun anew. */
static void forget_failed(generator *g, int64_t item)
{
    for (job **at = &g->jobs; *at; at = &(*at)->next) {
        job *j = *at;
        if (j->item != item || !j->failed || j->active) continue;
        *at = j->next;
        job_free(j);
        return;
    }
}

static bool begin(generator *g, int64_t item, const json_t *dialogue, char *error, size_t error_size)
{
    records prompt = {0};
    variants from;
    const char *wrong = records_add_prompt(&prompt, dialogue);
    job *j = wrong ? NULL : calloc(1, sizeof *j);
    bool ok = j != NULL;
    for (int v = 0; ok && v < 2; v++) {
        sequence *q = &j->of[v];
        q->prompt = encode(g, v, &prompt.items[0], &q->n_prompt);
        ok = q->prompt && llama2_session_create(g->set.models[v], &q->session) >= 0 &&
             llama2_decoder_create(g->set.tokenizers[v], 0, &q->decoder) >= 0;
        if (!ok) wrong = q->prompt ? llama2_last_error() : why_not(q->n_prompt);
    }
    if (j) {
        j->item = item;
        j->swapped = is_swapped(g, item);
    }
    for (int v = 0; v < 2; v++) {
        from.models[v] = g->set.names[v ^ (j && j->swapped)];
        from.temperatures[v] = g->set.temperatures[v ^ (j && j->swapped)];
    }
    if (ok && !store_answer(g->s, item, &from)) ok = false, wrong = store_error();
    records_free(&prompt);
    if (ok) {
        job **at = &g->jobs;
        while (*at) at = &(*at)->next;
        *at = j;
        pthread_cond_signal(&g->work);
        return true;
    }
    snprintf(error, error_size, "%s", wrong ? wrong : "no memory");
    if (j) job_free(j);
    return false;
}

const char *generator_check(generator *g, const json_t *dialogue)
{
    records prompt = {0};
    const char *wrong = records_add_prompt(&prompt, dialogue);
    for (int v = 0; !wrong && v < 2; v++) {
        int64_t n;
        int32_t *tokens = encode(g, v, &prompt.items[0], &n);
        if (!tokens) wrong = why_not(n);
        free(tokens);
    }
    records_free(&prompt);
    return wrong;
}

bool generator_want(generator *g, int64_t item, const json_t *dialogue, char *error, size_t error_size)
{
    pthread_mutex_lock(&g->lock);
    forget_failed(g, item);
    job *j = find(g, item);
    if (j) j->unwanted = false;
    bool ok = j || begin(g, item, dialogue, error, error_size);
    pthread_mutex_unlock(&g->lock);
    return ok;
}

void generator_forget(generator *g, int64_t item)
{
    pthread_mutex_lock(&g->lock);
    job *j = find(g, item);
    if (j) j->unwanted = true;
    pthread_cond_signal(&g->work);
    pthread_mutex_unlock(&g->lock);
}

generator_state generator_text(generator *g, int64_t item, int which, size_t from, char **text)
{
    *text = NULL;
    pthread_mutex_lock(&g->lock);
    job *j = find(g, item);
    generator_state state = !j ? GENERATOR_UNKNOWN : j->failed ? GENERATOR_FAILED : GENERATOR_GOES_ON;
    if (state == GENERATOR_FAILED) *text = strdup(j->error);
    if (state == GENERATOR_GOES_ON) {
        const sequence *q = &j->of[which ^ j->swapped];
        size_t n = q->length; /* whole characters: the decoder holds back what is none yet */
        if (q->ended) state = GENERATOR_DONE;
        if (n > from && (*text = malloc(n - from + 1)) != NULL) {
            memcpy(*text, q->text + from, n - from);
            (*text)[n - from] = 0;
        }
    }
    pthread_mutex_unlock(&g->lock);
    return state;
}
