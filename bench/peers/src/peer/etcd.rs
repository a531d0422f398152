//! etcd over its gRPC interface, with the two calls and the few fields that are needed of it (`etcdserverpb` in etcd's
//! `rpc.proto`): the same bytes as its official clients send, without their build tools.

use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::{Store, Stores};
use crate::Outcome;
use crate::place::Place;

/// etcd, one member.
#[derive(Debug)]
pub(crate) struct Etcd;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection(Channel);

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(bytes = "bytes", tag = "5")]
    value: Bytes,
}

impl Stores for Etcd {
    type Store = Connection;

    async fn store(place: &Place) -> Outcome<Connection> {
        Ok(Connection(Channel::from_shared(place.address.clone())?.tcp_nodelay(true).connect().await?))
    }
}

impl Connection {
    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Outcome<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let (path, codec) = (PathAndQuery::from_static(path), ProstCodec::default());
        Ok(grpc.unary(tonic::Request::new(request), path, codec).await?.into_inner())
    }
}

impl Store for Connection {
    /// Linearizable, as a range is unless it asks for less.
    async fn get(&self, key: &str) -> Outcome<Bytes> {
        let request = RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()) };
        let mut answer: RangeResponse = self.call("/etcdserverpb.KV/Range", request).await?;
        Ok(answer.kvs.pop().ok_or_else(|| format!("key {key} is not there"))?.value)
    }

    async fn put(&self, key: &str, value: Bytes) -> Outcome {
        let request = PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), value };
        self.call::<_, PutResponse>("/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }
}
