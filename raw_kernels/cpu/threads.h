// Threads: the items of a kernel are cut into parts, and a team of threads takes one part after the other.
//
// On a small image a kernel takes 50 microseconds, and waking a thread that sleeps as long again. So a helper that has
// nothing to do looks out for work for a while before it sleeps, and nobody waits for a helper that comes late: the
// caller takes parts, too, and when none is left it waits only for those who are in the middle of one.
//
// Who takes which part makes no difference to any bit.
#pragma once
#include <pthread.h>
#include <sched.h>

#include "kernel.h"

namespace {

typedef void Kernel(const void* arguments, i64 first, i64 last);

constexpr i64 LOOKS = 10000;  // at what there is to do, before going to sleep: a few hundred microseconds

INLINE void wait_a_moment() {
#if defined(__x86_64__)
    __builtin_ia32_pause();  // leaves the core to its other thread, and saves power
#endif
}

struct Job {
    Kernel* kernel;
    const void* arguments;
    i64 items, parts;
    i64 next;  // the first part that nobody has taken

    void work() {
        for (;;) {
            const i64 part = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
            if (part >= parts) return;
            kernel(arguments, items * part / parts, items * (part + 1) / parts);
        }
    }
};

struct Team {
    pthread_mutex_t called;  // held by the caller whose job it is
    pthread_mutex_t mutex;   // guards what follows; `wanted` and `working` are looked at without it, too
    pthread_cond_t wake;
    i64 helpers, asleep;  // threads that were started, and how many of them sleep
    Job* job;
    i64 wanted;   // how many helpers may yet join
    i64 working;  // how many have joined, and not finished
};

constexpr Team NOBODY = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0, 0};
Team team = NOBODY;

// What each helper does, for ever. (Threads do not outlive the process.)
void* help(void*) {
    for (;;) {
        for (i64 look = 0; look < LOOKS && !__atomic_load_n(&team.wanted, __ATOMIC_RELAXED); ++look) wait_a_moment();
        pthread_mutex_lock(&team.mutex);
        if (team.wanted == 0) {
            ++team.asleep;
            pthread_cond_wait(&team.wake, &team.mutex);
            --team.asleep;
        }
        Job* job = nullptr;
        if (team.wanted > 0) {
            __atomic_sub_fetch(&team.wanted, 1, __ATOMIC_RELAXED);
            __atomic_add_fetch(&team.working, 1, __ATOMIC_RELAXED);
            job = team.job;
        }
        pthread_mutex_unlock(&team.mutex);
        if (!job) continue;
        job->work();
        __atomic_sub_fetch(&team.working, 1, __ATOMIC_RELEASE);  // from here on the job may be gone
    }
    return nullptr;
}

// Start helpers until there are so many, or the system gives no more.
void start_helpers(i64 count) {
    if (team.helpers == 0) pthread_atfork(nullptr, nullptr, [] { team = NOBODY; });  // a fork takes none along
    for (pthread_t thread; team.helpers < count && !pthread_create(&thread, nullptr, help, nullptr); ++team.helpers) {
        pthread_detach(thread);
    }
}

}  // namespace

// All items of a kernel, in so many parts on up to so many threads, of which the caller is one. Whoever calls while the
// team works for somebody else does it alone.
extern "C" __attribute__((visibility("default"))) void run_on_threads(Kernel* kernel, const void* arguments, i64 items,
                                                                      i64 parts, i64 threads) {
    if (parts < 2 || threads < 2 || pthread_mutex_trylock(&team.called) != 0) return kernel(arguments, 0, items);
    Job job = {kernel, arguments, items, parts, 0};
    pthread_mutex_lock(&team.mutex);
    const i64 wanted = smaller(threads, parts) - 1;
    if (team.helpers < wanted) start_helpers(wanted);
    team.job = &job;
    __atomic_store_n(&team.wanted, wanted, __ATOMIC_RELAXED);
    if (team.asleep > 0) pthread_cond_broadcast(&team.wake);
    pthread_mutex_unlock(&team.mutex);
    job.work();
    pthread_mutex_lock(&team.mutex);
    __atomic_store_n(&team.wanted, 0, __ATOMIC_RELAXED);  // too late to join
    pthread_mutex_unlock(&team.mutex);
    for (i64 look = 0; __atomic_load_n(&team.working, __ATOMIC_ACQUIRE) > 0; ++look) {
        if (look < LOOKS) wait_a_moment();
        else sched_yield();  // what is waited for may need this core
    }
    pthread_mutex_unlock(&team.called);
}
