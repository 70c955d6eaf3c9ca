//! Vectors of texts: the neutral request, and how OpenAI-compatible servers and Bedrock's models of Amazon and Cohere
//! are asked and answer.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::phrase;
use crate::model::UpstreamFailure;

/// What the vectors are for; models of Cohere make others for what is looked for than for what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Kept in an index.
    Document,
    /// Looked for in it.
    Query,
}

/// Texts whose vectors are wanted.
#[derive(Clone, PartialEq, Eq)]
pub struct EmbeddingRequest {
    /// At least one.
    pub texts: Vec<String>,
    /// Length of the vectors; the model's own when `None`.
    pub dimensions: Option<u32>,
    /// Leave out what the model does not take in place of failing.
    pub drop_params: bool,
    /// What for.
    pub purpose: Purpose,
}

crate::opaque::opaque_debug!(EmbeddingRequest);

/// The vectors of a request, in its order.
#[derive(Clone, PartialEq)]
pub struct Embeddings {
    /// One per text.
    pub vectors: Vec<Vec<f64>>,
    /// Tokens read, when the server states them.
    pub input_tokens: Option<u64>,
}

crate::opaque::opaque_debug!(Embeddings);

/// Body of `POST …/embeddings`.
pub fn openai_body(model: &str, request: &EmbeddingRequest) -> Value {
    let mut body = json!({ "model": model, "input": request.texts });
    if let Some(dimensions) = request.dimensions {
        body["dimensions"] = dimensions.into();
    }
    body
}

/// Reads the answer to [`openai_body`] for `count` texts.
///
/// # Errors
/// [`UpstreamFailure::Protocol`] for anything but one vector per text.
pub fn parse_openai(body: &[u8], count: usize) -> Result<Embeddings, UpstreamFailure> {
    #[derive(Deserialize)]
    struct Answer {
        data: Vec<One>,
        usage: Option<Counts>,
    }
    #[derive(Deserialize)]
    struct One {
        embedding: Vec<f64>,
        index: Option<usize>,
    }
    #[derive(Deserialize)]
    struct Counts {
        prompt_tokens: Option<u64>,
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| no_vectors())?;
    let mut vectors: Vec<Vec<f64>> = vec![Vec::new(); count];
    for (place, one) in answer.data.into_iter().enumerate() {
        *vectors.get_mut(one.index.unwrap_or(place)).ok_or_else(no_vectors)? = one.embedding;
    }
    whole(vectors, count, answer.usage.and_then(|usage| usage.prompt_tokens))
}

/// How a model of Bedrock is asked by InvokeModel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BedrockEmbedder {
    /// Amazon Titan, first version: one text a call, vectors of one length.
    TitanV1,
    /// Amazon Titan, second version: one text a call.
    TitanV2,
    /// Cohere, third version: up to 96 texts, vectors of one length.
    CohereV3,
    /// Cohere, fourth version: up to 96 texts.
    CohereV4,
}

/// Most texts of one call of a model of Cohere.
const COHERE_TEXTS: usize = 96;

impl BedrockEmbedder {
    /// By the model's id, whatever region prefix it has.
    ///
    /// # Errors
    /// 400 for a model whose format is not known; the id of an application inference profile does not tell its model.
    pub fn of(model: &str) -> Result<Self, UpstreamFailure> {
        let has = |part: &str| model.contains(part);
        if has("amazon.titan-embed-text-v2") {
            Ok(Self::TitanV2)
        } else if has("amazon.titan-embed-text-v1") || has("amazon.titan-embed-g1-text") {
            Ok(Self::TitanV1)
        } else if has("cohere.embed-v4") {
            Ok(Self::CohereV4)
        } else if has("cohere.embed-english-v3") || has("cohere.embed-multilingual-v3") {
            Ok(Self::CohereV3)
        } else {
            Err(refused(
                "this model of Bedrock is not known to make vectors; use amazon.titan-embed-text-v1 or -v2, \
                         cohere.embed-english-v3, cohere.embed-multilingual-v3 or cohere.embed-v4",
            ))
        }
    }

    /// The bodies of the calls for a request, in the order of its texts.
    ///
    /// # Errors
    /// 400 when a length is asked for that the model cannot give, unless it may be left out.
    pub fn bodies(self, request: &EmbeddingRequest) -> Result<Vec<Value>, UpstreamFailure> {
        let dimensions = match (self, request.dimensions) {
            (Self::TitanV1 | Self::CohereV3, Some(_)) if request.drop_params => None,
            (Self::TitanV1 | Self::CohereV3, Some(_)) => {
                return Err(refused("this model's vectors have one length only: leave dimensions out"));
            }
            (_, dimensions) => dimensions,
        };
        Ok(match self {
            Self::TitanV1 => request.texts.iter().map(|text| json!({ "inputText": text })).collect(),
            Self::TitanV2 => request
                .texts
                .iter()
                .map(|text| match dimensions {
                    Some(dimensions) => json!({ "inputText": text, "dimensions": dimensions, "normalize": true }),
                    None => json!({ "inputText": text, "normalize": true }),
                })
                .collect(),
            Self::CohereV3 | Self::CohereV4 => request
                .texts
                .chunks(COHERE_TEXTS)
                .map(|texts| {
                    let purpose = match request.purpose {
                        Purpose::Document => "search_document",
                        Purpose::Query => "search_query",
                    };
                    let mut body = json!({ "texts": texts, "input_type": purpose });
                    if self == Self::CohereV4 {
                        body["embedding_types"] = json!(["float"]);
                        if let Some(dimensions) = dimensions {
                            body["output_dimension"] = dimensions.into();
                        }
                    } else {
                        // a longer text is cut at the end, as other models do by themselves
                        body["truncate"] = "END".into();
                    }
                    body
                })
                .collect(),
        })
    }

    /// Reads the answer to one of the bodies.
    ///
    /// # Errors
    /// [`UpstreamFailure::Protocol`] for an answer without vectors.
    pub fn parse(self, body: &[u8]) -> Result<Embeddings, UpstreamFailure> {
        #[derive(Deserialize)]
        struct Titan {
            embedding: Vec<f64>,
            #[serde(rename = "inputTextTokenCount")]
            tokens: Option<u64>,
        }
        #[derive(Deserialize)]
        struct Cohere {
            embeddings: Vectors,
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Vectors {
            Plain(Vec<Vec<f64>>),
            ByType { float: Vec<Vec<f64>> },
        }
        match self {
            Self::TitanV1 | Self::TitanV2 => {
                let answer: Titan = serde_json::from_slice(body).map_err(|_| no_vectors())?;
                whole(vec![answer.embedding], 1, answer.tokens)
            }
            Self::CohereV3 | Self::CohereV4 => {
                let answer: Cohere = serde_json::from_slice(body).map_err(|_| no_vectors())?;
                let (Vectors::Plain(vectors) | Vectors::ByType { float: vectors }) = answer.embeddings;
                let count = vectors.len();
                whole(vectors, count, None)
            }
        }
    }
}

/// The answers of several calls as one, for `count` texts.
///
/// # Errors
/// [`UpstreamFailure::Protocol`] when it is not one vector per text.
pub fn joined(parts: Vec<Embeddings>, count: usize) -> Result<Embeddings, UpstreamFailure> {
    let input_tokens = parts.iter().map(|part| part.input_tokens).sum();
    let vectors = parts.into_iter().flat_map(|part| part.vectors).collect();
    whole(vectors, count, input_tokens)
}

fn whole(vectors: Vec<Vec<f64>>, count: usize, input_tokens: Option<u64>) -> Result<Embeddings, UpstreamFailure> {
    if vectors.len() != count || vectors.iter().any(Vec::is_empty) {
        return Err(no_vectors());
    }
    Ok(Embeddings { vectors, input_tokens })
}

fn no_vectors() -> UpstreamFailure {
    UpstreamFailure::Protocol { reason: "not one vector per text; does the model make embeddings?".to_owned() }
}

fn refused(reason: &str) -> UpstreamFailure {
    UpstreamFailure::Status { code: 400, reason: format!("{}: {reason}", phrase(400)), retry_after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(count: usize, dimensions: Option<u32>, drop_params: bool) -> EmbeddingRequest {
        let texts = (0..count).map(|n| format!("text {n}")).collect();
        EmbeddingRequest { texts, dimensions, drop_params, purpose: Purpose::Query }
    }

    #[test]
    fn openais_vectors_are_put_in_order() {
        let body = openai_body("m", &request(2, Some(3), false));
        assert_eq!(body, json!({"model": "m", "input": ["text 0", "text 1"], "dimensions": 3}));
        let answer = br#"{"object":"list","data":[{"index":1,"embedding":[0.5,2]},{"index":0,"embedding":[-1,1e-3]}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#;
        let read = parse_openai(answer, 2).unwrap();
        assert_eq!((read.vectors, read.input_tokens), (vec![vec![-1.0, 0.001], vec![0.5, 2.0]], Some(7)));
    }

    #[test]
    fn anything_but_one_vector_per_text_is_no_answer() {
        for body in [
            "<html>",
            "{}",
            r#"{"data":[]}"#,
            r#"{"data":[{"index":5,"embedding":[1]}]}"#,
            r#"{"data":[{"index":0,"embedding":[]}]}"#,
            r#"{"data":[{"index":0,"embedding":["x"]}]}"#,
            r#"{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1]}]}"#,
            r#"{"data":[{"index":0,"embedding":[1]}"#,
        ] {
            assert!(matches!(parse_openai(body.as_bytes(), 1), Err(UpstreamFailure::Protocol { .. })), "{body}");
        }
        for embedder in [BedrockEmbedder::TitanV2, BedrockEmbedder::CohereV4] {
            for body in ["", "{}", r#"{"embedding":[]}"#, r#"{"embeddings":[[]]}"#] {
                assert!(matches!(embedder.parse(body.as_bytes()), Err(UpstreamFailure::Protocol { .. })), "{body}");
            }
        }
    }

    #[test]
    fn models_of_bedrock_are_known_with_any_region_prefix() {
        use BedrockEmbedder::{CohereV3, CohereV4, TitanV1, TitanV2};
        for (model, kind) in [
            ("amazon.titan-embed-text-v2:0", Some(TitanV2)),
            ("amazon.titan-embed-text-v1", Some(TitanV1)),
            ("amazon.titan-embed-g1-text-02", Some(TitanV1)),
            ("cohere.embed-english-v3", Some(CohereV3)),
            ("cohere.embed-multilingual-v3", Some(CohereV3)),
            ("eu.cohere.embed-v4:0", Some(CohereV4)),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/global.cohere.embed-v4:0", Some(CohereV4)),
            ("anthropic.claude-3-sonnet-20240229-v1:0", None),
        ] {
            assert_eq!(BedrockEmbedder::of(model).ok(), kind, "{model}");
        }
    }

    #[test]
    fn bedrocks_bodies_and_answers() {
        let bodies = BedrockEmbedder::TitanV2.bodies(&request(2, Some(256), false)).unwrap();
        assert_eq!(bodies[1], json!({"inputText": "text 1", "dimensions": 256, "normalize": true}));
        let bodies = BedrockEmbedder::CohereV3.bodies(&request(200, None, false)).unwrap();
        let counts: Vec<_> = bodies.iter().map(|body| body["texts"].as_array().unwrap().len()).collect();
        assert_eq!((counts, &bodies[0]["input_type"]), (vec![96, 96, 8], &json!("search_query")));
        let bodies = BedrockEmbedder::CohereV4.bodies(&request(1, Some(512), false)).unwrap();
        assert_eq!((&bodies[0]["output_dimension"], &bodies[0]["embedding_types"]), (&json!(512), &json!(["float"])));

        let titan = BedrockEmbedder::TitanV1.parse(br#"{"embedding":[1,2],"inputTextTokenCount":3}"#).unwrap();
        let again = joined(vec![titan.clone(), titan], 2).unwrap();
        assert_eq!((again.vectors.len(), again.input_tokens), (2, Some(6)));
        for body in [r#"{"embeddings":[[1],[2]],"id":"x"}"#, r#"{"embeddings":{"float":[[1],[2]]},"id":"x"}"#] {
            assert_eq!(BedrockEmbedder::CohereV4.parse(body.as_bytes()).unwrap().vectors, [[1.0], [2.0]]);
        }
    }

    #[test]
    fn a_length_that_a_model_cannot_give_is_refused_or_left_out_as_asked() {
        for embedder in [BedrockEmbedder::TitanV1, BedrockEmbedder::CohereV3] {
            assert!(matches!(
                embedder.bodies(&request(1, Some(8), false)),
                Err(UpstreamFailure::Status { code: 400, .. })
            ));
            let body = embedder.bodies(&request(1, Some(8), true)).unwrap().remove(0);
            assert!(!body.to_string().contains("imension"), "{body}");
        }
    }
}
