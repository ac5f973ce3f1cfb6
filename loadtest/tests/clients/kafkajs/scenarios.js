// What users of KafkaJS do: see ../SCENARIOS.md.
'use strict'

const { deepStrictEqual } = require('assert')
const { Kafka, logLevel } = require('kafkajs')

const PARTITIONS = 4
const PATIENCE_MS = 60_000

const { BOOTSTRAP, SASL_MECHANISM, SASL_USERNAME, SASL_PASSWORD } = process.env

const kafka = new Kafka({
  brokers: [BOOTSTRAP],
  sasl:
    SASL_MECHANISM === 'OAUTHBEARER'
      ? { mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: SASL_PASSWORD }) }
      : { mechanism: 'plain', username: SASL_USERNAME, password: SASL_PASSWORD },
  logLevel: logLevel.NOTHING,
})

function equal(what, expected, got) {
  try {
    deepStrictEqual(got, expected)
  } catch {
    throw new Error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`)
  }
}

/** Asks until the answer is yes, within a minute. */
async function eventually(what, ask) {
  const deadline = Date.now() + PATIENCE_MS
  while (!(await ask())) {
    if (Date.now() > deadline) throw new Error(`expected within ${PATIENCE_MS} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** The type of the broker's error by which `call` fails. */
async function refused(what, expected, call) {
  const got = await call().then(
    value => value,
    error => typeOf(error)
  )
  equal(what, expected, got)
}

/** KafkaJS wraps what the broker said, and some calls wrap several of them. */
function typeOf(error) {
  const inner = error.type ? undefined : error.cause ?? error.errors?.[0]
  return inner ? typeOf(inner) : error.type ?? error.name
}

// Groups

/** A member that commits what it has read, as eachBatch's autoCommit does. */
class Member {
  constructor(group, topic) {
    this.topic = topic
    this.values = new Set()
    this.assigned = 0
    this.consumer = kafka.consumer({
      groupId: group,
      heartbeatInterval: 500,
      maxWaitTimeInMs: 100,
      // A refusal ends the consumer; others are tried again.
      retry: { restartOnFailure: async () => false },
    })
    this.consumer.on('consumer.group_join', ({ payload }) => {
      this.assigned = payload.memberAssignment[topic]?.length ?? 0
    })
    this.crash = undefined
    this.consumer.on('consumer.crash', ({ payload }) => {
      this.crash = payload.error
    })
  }

  async start() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true })
    await this.consumer.run({
      autoCommitInterval: 100,
      eachMessage: async ({ message }) => {
        this.values.add(message.value.toString())
      },
    })
  }

  async stop() {
    await this.consumer.disconnect()
  }
}

async function produce(topic, numbers) {
  const producer = kafka.producer({ createPartitioner: () => ({ message }) => Number(message.value[0]) })
  await producer.connect()
  await producer.send({ topic, messages: valuesOf(numbers).map(value => ({ value })) })
  await producer.disconnect()
}

function valuesOf(numbers) {
  return [...Array(PARTITIONS).keys()].flatMap(partition => numbers.map(number => `${partition}-${number}`))
}

async function groups(name) {
  const topic = `own-${name}`
  const group = `own-${name}`
  const admin = kafka.admin()
  await admin.connect()
  const committed = async () => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => offset)
  }

  const first_ten = [...Array(10).keys()]
  await produce(topic, first_ten)
  const first = new Member(group, topic)
  const second = new Member(group, topic)
  await Promise.all([first.start(), second.start()])
  await eventually(
    'two members with two partitions each, all values read and committed',
    async () =>
      first.assigned === 2 &&
      second.assigned === 2 &&
      (await committed()).every(offset => offset === '10')
  )
  const read = [...new Set([...first.values, ...second.values])].sort()
  equal('values that the members read', valuesOf(first_ten).sort(), read)
  await second.stop()
  await eventually('all four partitions for the one who stays', async () => first.assigned === PARTITIONS)
  await first.stop()

  await produce(topic, [10])
  const third = new Member(group, topic)
  await third.start()
  await eventually('what was written since, and committed', async () =>
    (await committed()).every(offset => offset === '11')
  )
  equal('values that a new member reads', valuesOf([10]), [...third.values].sort())
  await third.stop()
  await admin.disconnect()

  // KafkaJS says no more of a coordinator that it may not ask for.
  const refusals = {
    [`closed-${name}`]: 'KafkaJSGroupCoordinatorNotFound',
    [`read-${name}`]: 'GROUP_AUTHORIZATION_FAILED',
  }
  for (const [group, expected] of Object.entries(refusals)) {
    const stranger = new Member(group, topic)
    await refused(`the group ${group}`, expected, async () => {
      await stranger.start()
      await eventually('an answer', async () => stranger.crash || stranger.assigned > 0)
      if (stranger.crash) throw stranger.crash
      return 'partitions'
    })
    await stranger.stop()
  }
}

// Transactions

async function transactional(transactionalId) {
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

/** The values from the beginning of partition 0 to its end, as of now. */
async function readAll(topic, readUncommitted) {
  const admin = kafka.admin()
  await admin.connect()
  const [{ high }] = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  const consumer = kafka.consumer({ groupId: `${topic}-${readUncommitted}`, readUncommitted, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const values = []
  let position = 0n
  await consumer.run({
    autoCommit: false,
    // Batches without records bring the position past what ends a transaction.
    eachBatchAutoResolve: true,
    eachBatch: async ({ batch }) => {
      values.push(...batch.messages.map(message => message.value.toString()))
      position = BigInt(batch.lastOffset()) + 1n
    },
  })
  await eventually(`the end of ${topic}`, async () => position >= BigInt(high) - 1n)
  await consumer.disconnect()
  return values
}

async function transactions(name) {
  const source = `own-${name}-in`
  const target = `own-${name}-out`
  const producer = await transactional(`own-${name}`)
  for (const value of ['committed-0', 'aborted-0', 'committed-1']) {
    const transaction = await producer.transaction()
    const messages = [{ value: `${value}-a` }, { value: `${value}-b` }]
    await transaction.send({ topic: source, messages })
    if (value.startsWith('aborted')) await transaction.abort()
    else await transaction.commit()
  }

  const committed = ['committed-0-a', 'committed-0-b', 'committed-1-a', 'committed-1-b']
  equal('what is read committed', committed, await readAll(source, false))
  const all = [...committed.slice(0, 2), 'aborted-0-a', 'aborted-0-b', ...committed.slice(2)]
  equal('what is read uncommitted', all, await readAll(source, true))

  await transform(name, source, target, producer)
  const capitals = committed.map(value => value.toUpperCase())
  equal('what was transformed', capitals, await readAll(target, false))

  const refusals = {
    [`closed-${name}`]: 'KafkaJSGroupCoordinatorNotFound',
    [`read-${name}`]: 'TRANSACTIONAL_ID_AUTHORIZATION_FAILED',
  }
  for (const [id, expected] of Object.entries(refusals)) {
    const stranger = await transactional(id)
    await refused(`the transactional id ${id}`, expected, () => stranger.transaction())
    await stranger.disconnect()
  }
  await refused('a topic that may not be written', 'TOPIC_AUTHORIZATION_FAILED', async () => {
    const transaction = await producer.transaction()
    try {
      return await transaction.send({ topic: `read-${name}`, messages: [{ value: 'x' }] })
    } finally {
      await transaction.abort()
    }
  })
  await producer.disconnect()
}

/** Reads, transforms and writes in one transaction; the first is aborted, so that its records come again. */
async function transform(name, source, target, producer) {
  const groupId = `own-${name}`
  const admin = kafka.admin()
  await admin.connect()
  const committed = async () => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [source] })
    return partitions[0].offset
  }
  const consumer = kafka.consumer({ groupId, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topics: [source], fromBeginning: true })
  let transformed = 0
  let aborts = true
  let last
  let failure
  const turn = async ({ batch }) => {
    if (batch.messages.length === 0) return
    const transaction = await producer.transaction()
    const messages = batch.messages.map(({ value }) => ({ value: value.toString().toUpperCase() }))
    await transaction.send({ topic: target, messages })
    last = String(BigInt(batch.messages.at(-1).offset) + 1n)
    const topics = [{ topic: source, partitions: [{ partition: 0, offset: last }] }]
    await transaction.sendOffsets({ consumerGroupId: groupId, topics })
    if (aborts) {
      aborts = false
      await transaction.abort()
      equal('offset after the aborted transaction', '-1', await committed())
      consumer.seek({ topic: source, partition: 0, offset: '0' })
    } else {
      await transaction.commit()
      transformed += messages.length
    }
  }
  await consumer.run({
    autoCommit: false,
    eachBatch: batch => turn(batch).catch(error => (failure = error)),
  })
  await eventually('four records transformed', async () => {
    if (failure) throw failure
    return transformed >= 4
  })
  // The broker answers the end of a transaction before all of it is done.
  await eventually(`offset ${last}, which went with the transaction`, async () => (await committed()) === last)
  await consumer.disconnect()
  await admin.disconnect()
}

// Administration

async function administration(name) {
  const [own, read, closed] = [`own-${name}`, `read-${name}`, `closed-${name}`]
  const admin = kafka.admin()
  await admin.connect()
  const partitions = async topic => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0].partitions.length
  }

  await admin.createTopics({ topics: [{ topic: own, numPartitions: 2 }] })
  await eventually('the new topic in the list', async () => (await admin.listTopics()).includes(own))
  const topics = await admin.listTopics()
  equal('topics that are seen', [own, read], [own, read, closed].filter(topic => topics.includes(topic)))
  await eventually('two partitions', async () => (await partitions(own)) === 2)
  await admin.createPartitions({ topicPartitions: [{ topic: own, count: 4 }] })
  await eventually('four partitions', async () => (await partitions(own)) === 4)
  for (const { host, port } of (await admin.describeCluster()).brokers) console.log('broker', host, port)

  const listed = (await admin.listGroups()).groups.map(({ groupId }) => groupId)
  equal('groups that are seen', [own], [own, closed].filter(group => listed.includes(group)))
  const described = (await admin.describeGroups([own])).groups[0]
  equal("the group's state", [0, 'Empty'], [described.errorCode, described.state])
  await refused('describing a group without right', 'KafkaJSGroupCoordinatorNotFound', () =>
    admin.describeGroups([closed])
  )

  const denied = 'TOPIC_AUTHORIZATION_FAILED'
  await refused('creating a topic without right', denied, () =>
    admin.createTopics({ topics: [{ topic: `${closed}-new` }] })
  )
  await refused('deleting a topic without right', denied, () => admin.deleteTopics({ topics: [read] }))
  await refused('adding partitions without right', denied, () =>
    admin.createPartitions({ topicPartitions: [{ topic: read, count: 9 }] })
  )
  await refused('describing a topic without right', denied, () => partitions(closed))

  await admin.deleteTopics({ topics: [own] })
  await eventually('a list without the deleted topic', async () => !(await admin.listTopics()).includes(own))
  await admin.disconnect()
}

const [scenario, name] = process.argv.slice(2)
const run = { groups, transactions, admin: administration }[scenario]
run(name).then(
  () => {
    console.log('passed')
    process.exit(0)
  },
  error => {
    console.error(error)
    process.exit(1)
  }
)
