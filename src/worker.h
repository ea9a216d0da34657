/*
 * worker.h
 *		The background processes: one launcher, and workers that run what is queued.
 */
#ifndef EF_WORKER_H
#define EF_WORKER_H

/* Defines eikon_features.max_workers, and has a launcher started when preloaded. */
extern void EfWorkerInit(void);

#endif /* EF_WORKER_H */
