/* A stand-in for the library of NVIDIA's driver that CUDA is asked by (libcuda), beside nvml.c's: the functions that
 * optibench/cuda_context.py calls. The file that $STANDIN names may say "cuda_fails FUNCTION CODE" or
 * "cuda_hangs FUNCTION". It refuses what the real one would: a call before the one that it needs, or no GPU to be seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FINE, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201 };
static int initialized, retained, current;
static char page[1 << 20];

static int told(const char *function) {
    char line[256], key[64], name[64];
    int code = 0;
    FILE *file = getenv("STANDIN") ? fopen(getenv("STANDIN"), "r") : NULL;
    while (file && fgets(line, sizeof line, file)) {
        int found = sscanf(line, "%63s %63s %d", key, name, &code);
        if (found < 2 || strcmp(name, function)) continue;
        if (!strcmp(key, "cuda_hangs")) for (;;) pause();
        if (!strcmp(key, "cuda_fails") && found == 3) { fclose(file); return code; }
    }
    if (file) fclose(file);
    return FINE;
}

int cuInit(unsigned flags) {
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    if (flags) return 1;
    if (!seen || strncmp(seen, "GPU-", 4)) return NO_DEVICE;
    initialized = 1;
    return told("cuInit");
}
int cuDeviceGet(int *device, int number) {
    if (!initialized) return NOT_INITIALIZED;
    if (number) return NO_DEVICE;
    return *device = 0, told("cuDeviceGet");
}
int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (!initialized || device) return NOT_INITIALIZED;
    retained = 1;
    return *context = &retained, told("cuDevicePrimaryCtxRetain");
}
int cuCtxSetCurrent(void *context) {
    if (!retained || context != &retained) return INVALID_CONTEXT;
    current = 1;
    return told("cuCtxSetCurrent");
}
int cuMemAlloc_v2(unsigned long long *pointer, size_t bytes) {
    if (!current) return INVALID_CONTEXT;
    if (bytes > sizeof page) return 2;
    return *pointer = (unsigned long long)page, told("cuMemAlloc_v2");
}
int cuMemsetD8_v2(unsigned long long pointer, unsigned char value, size_t count) {
    memset((void *)pointer, value, count); /* any other address, or more bytes than were asked for, crashes */
    return told("cuMemsetD8_v2");
}
int cuCtxSynchronize(void) { return current && page[sizeof page - 1] ? told("cuCtxSynchronize") : INVALID_CONTEXT; }

int cuGetErrorString(int code, const char **text) {
    return *text = code == 719 ? "unspecified launch failure" : "an error of the stand-in", FINE;
}
int cuGetErrorName(int code, const char **text) {
    return *text = code == 719 ? "CUDA_ERROR_LAUNCH_FAILED" : "CUDA_ERROR_STANDIN", FINE;
}
