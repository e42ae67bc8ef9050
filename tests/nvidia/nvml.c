/* A stand-in for NVIDIA's management library, which nvidia-ml-py loads and calls by ctypes as it would the real one.
 *
 * The file that $STANDIN names says what it plays: a line "KEY VALUE" each, of one GPU "NUMBER.KEY VALUE". It is read at
 * each call, so that a test can change the machine while something runs. With -DOLD it lacks what old drivers lack.
 * It shows that calls and answers fit, never what a GPU does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu, compute; } Process;
typedef void *Device; /* GPU n is 1 + n; its MIG instance m is 100 + 10 n + m */
enum { FINE, NO_ARGUMENT = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15 };

static const char *text(int gpu, const char *key, const char *usual) {
    static char value[256];
    char line[256], wanted[64], found[64];
    const char *path = getenv("STANDIN");
    FILE *file = path ? fopen(path, "r") : NULL;
    const char *answer = usual;
    if (gpu < 0) snprintf(wanted, sizeof wanted, "%s", key);
    else snprintf(wanted, sizeof wanted, "%d.%s", gpu, key);
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %255[^\n]", found, value) == 2 && !strcmp(found, wanted)) { answer = value; break; }
    if (file) fclose(file);
    return answer;
}

static long number(int gpu, const char *key, long usual) {
    const char *found = text(gpu, key, NULL);
    return found ? atol(found) : usual;
}

static int part_of(Device d) { return (long)d >= 100 ? ((long)d - 100) / 10 : -1; }
static int gpu_of(Device d) { return part_of(d) >= 0 ? part_of(d) : (long)d - 1; }
static int lost(Device d) { return number(gpu_of(d), "lost", 0); }

static void stuck(const char *key) {
    while (number(-1, key, 0)) pause();
}

/* A value of a whole GPU; -1 in the file: this card does not tell. */
static int value(Device d, const char *key, long usual, unsigned *answer) {
    long found = number(gpu_of(d), key, usual);
    if (lost(d)) return LOST;
    if (part_of(d) >= 0 || found < 0) return UNSUPPORTED;
    *answer = found;
    return FINE;
}

const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "an error of the stand-in"; }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    stuck("init_hangs");
    if (number(-1, "init_crashes", 0)) abort();
    return number(-1, "init_error", 0);
}
int nvmlShutdown(void) { return FINE; }
int nvmlSystemGetDriverVersion(char *answer, unsigned size) {
    return snprintf(answer, size, "%s", text(-1, "driver", "580.95.05")) < 0;
}
int nvmlSystemGetCudaDriverVersion(int *answer) { return *answer = number(-1, "cuda", 13000), FINE; }
int nvmlDeviceGetCount_v2(unsigned *answer) { return *answer = number(-1, "count", 2), FINE; }
int nvmlDeviceGetHandleByIndex_v2(unsigned n, Device *answer) {
    *answer = (Device)(1L + n);
    return lost(*answer) ? LOST : FINE;
}

int nvmlDeviceGetUUID(Device d, char *answer, unsigned size) {
    const char *kind = part_of(d) >= 0 ? "MIG" : "GPU";
    int place = part_of(d) >= 0 ? ((long)d - 100) % 10 : 0;
    snprintf(answer, size, "%s-%d%d000000-1111-2222-3333-444444444444", kind, gpu_of(d), place);
    return FINE;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Device *answer) {
    char found[96];
    for (long n = 1; n < 200; n++) {
        if (n <= number(-1, "count", 2) || (n >= 100 && gpu_of((Device)n) < number(-1, "count", 2))) {
            nvmlDeviceGetUUID((Device)n, found, sizeof found);
            if (!strcmp(found, uuid)) return *answer = (Device)n, lost(*answer) ? LOST : FINE;
        }
    }
    return NOT_FOUND;
}
int nvmlDeviceGetName(Device d, char *answer, unsigned size) {
    snprintf(answer, size, "%s%s", text(gpu_of(d), "name", "NVIDIA L4"), part_of(d) >= 0 ? " MIG 1g.6gb" : "");
    return FINE;
}
int nvmlDeviceGetCudaComputeCapability(Device d, int *major, int *minor) {
    long both = number(gpu_of(d), "capability", 89);
    return *major = both / 10, *minor = both % 10, FINE;
}
int nvmlDeviceGetPersistenceMode(Device d, unsigned *answer) { return value(d, "persistence", 1, answer); }
int nvmlDeviceGetEccMode(Device d, unsigned *now, unsigned *next) { return *next = 1, value(d, "ecc", 1, now); }
int nvmlDeviceGetTotalEccErrors(Device d, unsigned type, unsigned counter, unsigned long long *answer) {
    unsigned found = 0;
    int code = type == 1 && counter == 0 ? value(d, "ecc_errors", 0, &found) : NO_ARGUMENT;
    return *answer = found, code;
}
int nvmlDeviceGetPowerManagementLimit(Device d, unsigned *answer) { return value(d, "limit", 72000, answer); }
int nvmlDeviceGetPowerManagementDefaultLimit(Device d, unsigned *answer) { return value(d, "usual_limit", 72000, answer); }
int nvmlDeviceGetPowerUsage(Device d, unsigned *answer) {
    stuck("sensors_hang");
    return value(d, "milliwatts", 50000, answer);
}
int nvmlDeviceGetMaxClockInfo(Device d, unsigned type, unsigned *answer) { return (void)type, value(d, "most", 2040, answer); }
int nvmlDeviceGetClockInfo(Device d, unsigned type, unsigned *answer) {
    return type == 1 ? value(d, "sm", 1980, answer) : type == 2 ? value(d, "memory", 6251, answer) : NO_ARGUMENT;
}
int nvmlDeviceGetTemperature(Device d, unsigned sensor, unsigned *answer) {
    return sensor ? NO_ARGUMENT : value(d, "celsius", 54, answer);
}
int nvmlDeviceGetTemperatureThreshold(Device d, unsigned which, unsigned *answer) {
    return which == 1 ? value(d, "slower_from", 90, answer) : NO_ARGUMENT;
}

/* The caller, if it was told to use this very device, and the process that the file names. */
int nvmlDeviceGetComputeRunningProcesses_v3(Device d, unsigned *count, Process *answer) {
    char uuid[96];
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    Process found[2];
    unsigned n = 0;
    nvmlDeviceGetUUID(d, uuid, sizeof uuid);
    if (visible && !strcmp(visible, uuid)) found[n++] = (Process){getpid(), 512000000, -1, -1};
    if (number(gpu_of(d), "pid", 0)) found[n++] = (Process){number(gpu_of(d), "pid", 0), 1000000, -1, -1};
    if (*count < n) return *count = n, TOO_SMALL;
    if (answer) memcpy(answer, found, n * sizeof *found);
    return *count = n, FINE;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device d, unsigned *count, Process *answer) {
    return (void)d, (void)answer, *count = 0, FINE;
}

#ifndef OLD
int nvmlDeviceGetCurrentClocksEventReasons(Device d, unsigned long long *answer) {
    unsigned found = 0;
    int code = value(d, "reasons", 0, &found);
    return *answer = found, code;
}
int nvmlDeviceGetMigMode(Device d, unsigned *now, unsigned *next) { return *next = 0, value(d, "mig", -1, now); }
int nvmlDeviceGetMaxMigDeviceCount(Device d, unsigned *answer) { return (void)d, *answer = 7, FINE; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device d, unsigned n, Device *answer) {
    if (n >= number(gpu_of(d), "parts", 2)) return NOT_FOUND;
    return *answer = (Device)(100L + 10 * gpu_of(d) + n), FINE;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device d, Device *answer) {
    return *answer = (Device)(1L + part_of(d)), FINE;
}
/* Moves every 20 ms, at "milliwatts". */
int nvmlDeviceGetTotalEnergyConsumption(Device d, unsigned long long *answer) {
    struct timespec now;
    unsigned milliwatts = 0;
    int code = value(d, "counter", 50000, &milliwatts);
    clock_gettime(CLOCK_MONOTONIC, &now);
    *answer = (now.tv_sec * 1000ULL + now.tv_nsec / 1000000) / 20 * 20 * milliwatts / 1000;
    return code;
}
#endif
