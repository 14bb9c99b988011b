// graphile-worker: a job queue in Postgres. It knows no DAGs: a chain is a job that adds the next, a fan counts down in
// a table. The last row is measured in its batched mode too.
'use strict';

const lib = require('./lib.js');
const modules = `${lib.base}/envs/graphile/node_modules/`;
const { run, makeWorkerUtils, Logger } = require(`${modules}graphile-worker`);
const { Pool } = require(`${modules}pg`);

const PEER = 'graphile';
const CONCURRENCY = 24;
const JOBS = 20000;
const { emit, emitChain, fib, now, pause, percentile } = lib;

let bodies = [];
let counted = 0;
let awaited = 0;
let done = () => {};
const ended = () => new Promise((resolve) => { done = resolve; });
const count = () => { counted += 1; if (counted >= awaited) done(); };

const taskList = {
    noop: async () => count(),
    chain: async ({ place, length, number }, helpers) => {
        const start = now();
        if (number) fib(number);
        bodies.push([start, now()]);
        if (place + 1 < length) await helpers.addJob('chain', { place: place + 1, length, number });
        else count();
    },
    fan: async ({ kind, width }, helpers) => {
        if (kind === 'first') {
            await helpers.query('insert into fan_left values ($1)', [width]);
            await helpers.addJobs(Array.from({ length: width }, () => ({ identifier: 'fan', payload: { kind: 'each' } })));
        } else if (kind === 'each') {
            const left = await helpers.query('update fan_left set n = n - 1 returning n');
            if (left.rows[0].n === 0) await helpers.addJob('fan', { kind: 'last' });
        } else {
            bodies.push([now(), now()]);
            done();
        }
    },
};

async function throughput(pool, options, mode) {
    await pool.query(`select graphile_worker.add_job('noop', '{}'::json) from generate_series(1, ${JOBS})`);
    counted = 0;
    awaited = JOBS;
    const over = ended();
    const start = now();
    const runner = await run(options);
    await over;
    emit(PEER, 'noop_tasks_per_s', (JOBS / (now() - start)) * 1000, { mode });
    return runner;
}

async function chain(utils, length, number, name) {
    bodies = [];
    [counted, awaited] = [0, 1];
    const over = ended();
    const asked = now();
    await utils.addJob('chain', { place: 0, length, number });
    await over;
    if (name) emitChain(PEER, asked, bodies, name);
    return bodies[0][0] - asked;
}

async function main() {
    const connectionString = `postgres://postgres@127.0.0.1:${process.env.PGPORT}/bench`;
    const pool = new Pool({ connectionString, max: CONCURRENCY + 6 });
    const logger = new Logger(() => () => {});
    const options = { pgPool: pool, concurrency: CONCURRENCY, pollInterval: 2000, taskList, logger, noHandleSignals: true };
    const utils = await makeWorkerUtils({ pgPool: pool, logger });
    await utils.migrate();
    await pool.query('create table fan_left (n integer)');

    const batches = { worker: { localQueue: { size: 500, refetchDelay: { durationMs: 20 } }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } };
    await (await throughput(pool, { ...options, preset: batches }, 'batched')).stop();
    const runner = await throughput(pool, options, 'default');
    await pause(1000);

    await chain(utils, 1, 0);
    await chain(utils, 40, 10, 'light40');
    await chain(utils, 100, 0, 'chain100');
    const started = [];
    for (let number = 0; number < 50; number += 1) started.push(await chain(utils, 1, 0));
    emit(PEER, 'trigger_to_start_p50_ms', percentile(started, 0.5), { by: 'addJob of the same process' });

    bodies = [];
    let over = ended();
    let asked = now();
    await utils.addJob('fan', { kind: 'first', width: 1000 });
    await over;
    emit(PEER, 'fan1000_total_ms', bodies[0][1] - asked);

    bodies = [];
    [counted, awaited] = [0, 200];
    over = ended();
    asked = now();
    for (let number = 0; number < 200; number += 1) await utils.addJob('chain', { place: 0, length: 5, number: 0 });
    await over;
    emit(PEER, 'runs200x5_total_ms', Math.max(...bodies.map((body) => body[1])) - asked);

    if (!lib.quick) {
        await pause(5000);
        const [before, start] = [process.cpuUsage(), now()];
        await pause(30000);
        const used = process.cpuUsage(before);
        emit(PEER, 'idle_cpu_percent', ((used.user + used.system) / 1e3 / (now() - start)) * 100);
        emit(PEER, 'idle_rss_mb', process.memoryUsage().rss / 1048576);
    }
    await runner.stop();
    await utils.release();
    await pool.end();
}

main().catch((error) => { console.error(error); process.exitCode = 1; });
