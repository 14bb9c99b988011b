// Restate: one node of its server, with a log of its own instead of Postgres, and a Node service it calls back. A task
// is a `ctx.run`, a fan is 1,000 calls of a handler.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const lib = require('./lib.js');
const modules = `${lib.base}/envs/restate/node_modules/`;
if (!Promise.withResolvers) {
    // Node before 22 has none, and the SDK wants it.
    Promise.withResolvers = () => {
        const all = {};
        all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }));
        return all;
    };
}
const restate = require(`${modules}@restatedev/restate-sdk`);

const PEER = 'restate';
const [INGRESS, ADMIN, NODE, SERVICE] = [28180, 28170, 28122, 28190];
const DATA = `${lib.base}/homes/restate`;
const { emit, emitChain, fib, now, pause, percentile } = lib;

let bodies = [];
const service = restate.service({
    name: 'bench',
    handlers: {
        chain: async (ctx, { length, number }) => {
            for (let place = 0; place < length; place += 1) {
                await ctx.run(`step_${place}`, () => {
                    const start = now();
                    if (number) fib(number);
                    bodies.push([start, now()]);
                });
            }
        },
        leaf: async () => {},
        fan: async (ctx, { width }) => {
            await ctx.run('first', () => {});
            const calls = Array.from({ length: width }, (_, number) => ctx.serviceClient({ name: 'bench' }).leaf(number));
            await restate.RestatePromise.all(calls);
            await ctx.run('last', () => { bodies.push([now(), now()]); });
        },
    },
});

const agent = new http.Agent({ keepAlive: true, maxSockets: 200 });
function ask(port, path, body, method = 'POST') {
    const data = body === undefined ? '' : JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(data) };
    return new Promise((resolve, reject) => {
        const request = http.request({ host: '127.0.0.1', port, path, method, agent, headers }, (answer) => {
            let text = '';
            answer.on('data', (part) => { text += part; });
            answer.on('end', () => (answer.statusCode < 300 ? resolve(text) : reject(new Error(`${path}: ${answer.statusCode} ${text}`))));
        });
        request.on('error', reject);
        request.end(data);
    });
}

async function untilItWorks(question) {
    for (const start = now(); ;) {
        try {
            return await question();
        } catch (error) {
            if (now() - start > 60000) throw error;
            await pause(20);
        }
    }
}

function serve() {
    const program = `${modules}@restatedev/restate-server-linux-${process.arch}/bin/restate-server`;
    const config = `base-dir = "${DATA}"\nlog-filter = "warn"\n[ingress]\nbind-address = "127.0.0.1:${INGRESS}"\n[admin]\nbind-address = "127.0.0.1:${ADMIN}"\n`;
    fs.writeFileSync(`${DATA}/config.toml`, config);
    const log = fs.openSync(`${lib.base}/logs/restate.log`, 'a');
    const environment = { ...process.env, RESTATE_DISABLE_TELEMETRY: 'true', DO_NOT_TRACK: '1' };
    const options = ['--config-file', `${DATA}/config.toml`, '--bind-address', `127.0.0.1:${NODE}`, '--node-name', 'bench'];
    return spawn(program, options, { stdio: ['ignore', log, log], env: environment });
}

async function idle(pid) {
    const ticks = () => {
        const words = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
        return Number(words[11]) + Number(words[12]);
    };
    const [before, start] = [ticks(), now()];
    await pause(30000);
    emit(PEER, 'idle_cpu_percent', ((ticks() - before) / 100 / ((now() - start) / 1000)) * 100);
    emit(PEER, 'idle_rss_mb', Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);
}

async function measure(server) {
    await untilItWorks(() => ask(ADMIN, '/deployments', { uri: `http://127.0.0.1:${SERVICE}` }));
    const chain = async (length, number) => {
        bodies = [];
        const asked = now();
        await ask(INGRESS, '/bench/chain', { length, number });
        return asked;
    };
    await untilItWorks(() => chain(1, 0));
    emitChain(PEER, await chain(40, 10), bodies, 'light40');
    emitChain(PEER, await chain(100, 0), bodies, 'chain100');
    const started = [];
    for (let number = 0; number < 50; number += 1) {
        const asked = await chain(1, 0);
        started.push(bodies[0][0] - asked);
    }
    emit(PEER, 'trigger_to_start_p50_ms', percentile(started, 0.5));

    bodies = [];
    let asked = now();
    await ask(INGRESS, '/bench/fan', { width: 1000 });
    emit(PEER, 'fan1000_total_ms', bodies[0][1] - asked);

    bodies = [];
    asked = now();
    for (let number = 0; number < 200; number += 1) await ask(INGRESS, '/bench/chain/send', { length: 5, number: 0 });
    while (bodies.length < 1000) await pause(5);
    emit(PEER, 'runs200x5_total_ms', Math.max(...bodies.map((body) => body[1])) - asked);
    if (!lib.quick) await idle(server.pid);
}

async function main() {
    fs.rmSync(DATA, { recursive: true, force: true });
    fs.mkdirSync(DATA, { recursive: true });
    await restate.serve({ services: [service], port: SERVICE, logger: () => {} });
    const healthy = () => ask(ADMIN, '/health', undefined, 'GET');
    let server = serve();
    process.on('exit', () => server.kill('SIGKILL'));
    process.on('SIGTERM', () => process.exit(143));
    await untilItWorks(healthy);
    const over = new Promise((resolve) => { server.on('exit', resolve); });
    server.kill('SIGTERM');
    await over;
    const start = now();
    server = serve();
    await untilItWorks(healthy);
    emit(PEER, 'start_to_healthy_ms', now() - start);
    await measure(server);
    process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
